"""Parameters that HART has at its published size, part by part.

HART's table 2 says 732 M for text to image. The sizes of that model come with its weights, which
are not read here; these choices (Llama's layers without AdaLN, one width for everything) give that
number. The released layers have one RMSNorm for both branches, and a bias at the output
projection: as many parameters.
"""


def linear(inputs: int, outputs: int, bias: bool = True) -> int:
    """Parameters of a linear layer."""
    return inputs * outputs + outputs * bias


def embedder(width: int, sinusoids: int = 256) -> int:
    """Of the two layers behind a sinusoidal embedding."""
    return linear(sinusoids, width) + linear(width, width)


def block_parameters(dim: int, heads: int, width: int) -> int:
    """Of a block: queries, keys and values (HART's have biases for queries and values), the output
    projection, a factor for every head, SwiGLU of `width`, two RMSNorms."""
    attention = linear(dim, 3 * dim, bias=False) + 2 * dim + linear(dim, dim, bias=False) + heads
    return attention + 3 * dim * width + 2 * dim


def diffusion_parameters(
    token: int, condition: int, width: int, depth: int, learned_variance: bool = True
) -> int:
    """Of the denoising MLP; learned variances double its outputs."""
    block = 2 * width + 2 * linear(width, width) + linear(width, 3 * width)
    ends = linear(width, 2 * width) + linear(width, token * (1 + learned_variance))
    return embedder(width) + linear(condition, width) + linear(token, width) + depth * block + ends


def parameter_count(
    depth: int = 24,
    dim: int = 1536,
    heads: int = 24,
    width: int = 4096,
    text: int = 1536,
    token: int = 32,
    codes: int = 4096,
    diffusion_width: int = 1024,
    diffusion_depth: int = 6,
) -> dict[str, int]:
    """Parameters of HART's parts; as they stand, of the 732 M model. `text` is the width of the
    language model's hidden states, `token` that of a latent vector."""
    return {
        "blocks": depth * block_parameters(dim, heads, width),
        "latents in": linear(token, dim),
        "text in": linear(text, dim) + dim,  # and its norm
        "scale number": embedder(dim),
        "head": linear(dim, 2 * dim) + dim + linear(dim, codes),  # behind a norm with AdaLN
        "condition norm": dim,
        "diffusion": diffusion_parameters(token, dim, diffusion_width, diffusion_depth),
    }
