"""HART, scaled down: images from captions, scale by scale, with discrete and continuous tokens.

H. Tang et al., "HART: Efficient Visual Generation with Hybrid Autoregressive Transformer" (ICLR
2025). One subject a file: `quantizer` and `autoencoder` make the hybrid tokenizer, `transformer`
predicts the discrete tokens, `residual` the continuous ones, `sampling` draws images.
"""
