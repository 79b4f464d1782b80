"""What HART is compared with, at its size and with its tokenizer's images."""
