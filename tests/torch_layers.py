"""PyTorch's own layers with the weights of ours, to compare outputs."""

import torch
from torch import nn


def copy_block(block: nn.Module, theirs: nn.TransformerEncoderLayer) -> None:
    """Give `theirs` the weights of attention and MLP of one of our blocks; norms stay."""
    ours = block.attention
    theirs.self_attn.in_proj_weight.data = torch.cat(
        [ours.query.weight, ours.key.weight, ours.value.weight]
    )
    theirs.self_attn.in_proj_bias.data = torch.cat(
        [ours.query.bias, ours.key.bias, ours.value.bias]
    )
    theirs.self_attn.out_proj.load_state_dict(ours.out.state_dict())
    theirs.linear1.load_state_dict(block.mlp.up.state_dict())
    theirs.linear2.load_state_dict(block.mlp.down.state_dict())
