"""What is kept of a class: course directory, gradebook, grades."""
