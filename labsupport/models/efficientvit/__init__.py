"""EfficientViT: multi-scale linear attention for dense prediction.

Follows H. Cai et al., "EfficientViT: Multi-Scale Linear Attention for High-Resolution Dense
Prediction" (ICCV 2023) and its published code. `layers` has the convolutional blocks,
`attention` the linear attention, `backbone` the networks B0-B3 and L0-L3, `heads` what is built
on them, `timm_weights` the way from timm's names to these. Nothing is imported here, so that the
reference of a lab can be hidden while that lab is graded.
"""
