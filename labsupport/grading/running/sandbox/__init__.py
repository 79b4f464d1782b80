"""Kernels for untrusted code: bubblewrap around a warm process, a jail of its own for each kernel.

``visible`` says what a sandbox sees, ``warm`` starts it and asks it for kernels, ``provisioner``
hands them to jupyter_client. ``zygote`` and ``jail`` run inside.
"""
