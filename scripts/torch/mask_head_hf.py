"""The pieces of transformers' SamModel under the names of mask_head.py, in float32 with eager attention; random weights, no download."""
import torch
from transformers import SamConfig, SamModel

# SAM's names and those of transformers, as fragments; the first that occurs is replaced. Layers of MLPs: see renamed().
FRAGMENTS = [
    ("image_encoder.neck.0.", "vision_encoder.neck.conv1."), ("image_encoder.neck.1.", "vision_encoder.neck.layer_norm1."),
    ("image_encoder.neck.2.", "vision_encoder.neck.conv2."), ("image_encoder.neck.3.", "vision_encoder.neck.layer_norm2."),
    ("prompt_encoder.pe_layer.positional_encoding_gaussian_matrix", "shared_image_embedding.positional_embedding"),
    (".point_embeddings.", ".point_embed."), (".mask_downscaling.0.", ".mask_embed.conv1."),
    (".mask_downscaling.1.", ".mask_embed.layer_norm1."), (".mask_downscaling.3.", ".mask_embed.conv2."),
    (".mask_downscaling.4.", ".mask_embed.layer_norm2."), (".mask_downscaling.6.", ".mask_embed.conv3."),
    (".output_upscaling.0.", ".upscale_conv1."), (".output_upscaling.1.", ".upscale_layer_norm."),
    (".output_upscaling.3.", ".upscale_conv2."), (".norm", ".layer_norm"),
]
MLP_LAYERS = {"0": "proj_in", "1": "layers.0", "2": "proj_out"}


def renamed(name):
    """transformers' name of the parameter that mask_head.py calls mask_head.NAME."""
    name = name.removeprefix("mask_head.")
    if "_mlps." in name or "_prediction_head." in name:
        start, layer, end = name.rsplit(".", 2)
        return f"{start.removesuffix('.layers')}.{MLP_LAYERS[layer]}.{end}"
    for ours, theirs in FRAGMENTS:
        if ours in name:
            return name.replace(ours, theirs, 1)
    return name


def sam(settings, height, width, weights=None):
    """A SamModel whose neck, prompt encoder and mask decoder have these sizes; its tower is the smallest there is.

    transformers gives norm1 to norm4 an eps of 1e-6 by default, the original repository 1e-5: it is set to that here.
    """
    if settings["mask_tokens"] < 2 or not settings["iou_head"]:
        raise ValueError("SamModel has an IoU head and at least two mask tokens")
    D, side = settings["dim"], max(height, width)
    vision = dict(hidden_size=settings["width"], output_channels=D, num_hidden_layers=1, num_attention_heads=1, image_size=16 * side,
                  patch_size=16, mlp_dim=8, num_pos_feats=D // 2, global_attn_indexes=[0], window_size=0)
    prompt = dict(hidden_size=D, image_size=16 * side, patch_size=16, layer_norm_eps=1e-6)
    decoder = dict(hidden_size=D, mlp_dim=settings["mlp"], num_hidden_layers=settings["blocks"], num_attention_heads=settings["heads"],
                   num_multimask_outputs=settings["mask_tokens"] - 1, iou_head_hidden_dim=D, layer_norm_eps=1e-5)
    config = SamConfig(vision_config=vision, prompt_encoder_config=prompt, mask_decoder_config=decoder)
    model = SamModel._from_config(config, attn_implementation="eager").float().eval()
    if weights is not None:
        state = {renamed(n): w for n, w in weights.items() if ".text_proj" not in n}
        state["prompt_encoder.shared_embedding.positional_embedding"] = state["shared_image_embedding.positional_embedding"]
        wrong = model.load_state_dict({n: w.float() for n, w in state.items()}, strict=False)
        missing = [n for n in wrong.missing_keys if not n.startswith("vision_encoder.") or ".neck." in n]
        if missing or wrong.unexpected_keys:
            raise RuntimeError(f"missing {missing[:5]}, unexpected {wrong.unexpected_keys[:5]}")
    return model


def positional_code(model, height, width):
    """[h w, D] by the module that codes points: centres of pixels, (x, y) in 0..1."""
    y, x = torch.meshgrid((torch.arange(height) + 0.5) / height, (torch.arange(width) + 0.5) / width, indexing="ij")
    return model.shared_image_embedding(torch.stack([x, y], -1)[None])[0].flatten(0, 1)


def run(model, features, text_tokens, image_of):
    """features [B,h,w,C], text tokens after their projection [P,D] -> {name: [P,...] or [B,...]}, channels last.

    SamModel takes as many prompts for each picture: the decoder runs picture by picture, once for those that have some.
    """
    (B, h, w, _), out, masks = features.shape, {}, []
    E = model.vision_encoder.neck(features)
    out["mask_head.image_encoder.neck.3"] = E.permute(0, 2, 3, 1)
    code = positional_code(model, h, w)
    out["mask_head.prompt_encoder.pe_layer"] = code
    place = code.T.reshape(1, -1, h, w)
    dense = model.prompt_encoder(None, None, None, None)[1][:, :, :1, :1].expand(-1, -1, h, w)
    for b in range(B):
        sparse = text_tokens[image_of == b]
        if len(sparse):
            logits, _ = model.mask_decoder(image_embeddings=E[b : b + 1], image_positional_embeddings=place,
                                           sparse_prompt_embeddings=sparse[None, :, None], dense_prompt_embeddings=dense,
                                           multimask_output=False)
            masks.append(logits[0, :, 0])
    out["mask_head.mask_decoder"] = torch.cat(masks)
    return out


def gradients(model, names):
    """{name: gradient} of the parameters that mask_head.py calls by these names, after a backward pass; None where nothing arrived."""
    own = dict(model.named_parameters())
    return {n: own[renamed(n)].grad for n in names if renamed(n) in own}
