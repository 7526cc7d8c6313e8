"""What stands for a model's files where something that was computed from them is kept."""

from hashlib import blake2b

from leviathan_engine.gguf import Model

#: Changes when a page of the KV cache means something else: KTransformers' version, and ours of the layout.
LAYOUT = "ktransformers 0.2.1.post1, latent pages 1"


def fingerprint(model: Model) -> bytes:
    """20 bytes that differ for another model, quantisation, file or layout of the cache.

    Weights are not read: files count by name, size and time of change, so a copy of the files counts as another model.
    Errors: OSError for a file that has gone.
    """
    digest = blake2b(LAYOUT.encode(), digest_size=20)
    for part in model.parts:
        digest.update(f"{part.path.name} {part.file_size} {part.path.stat().st_mtime_ns}\n".encode())
    for tensor in model.tensors.values():
        digest.update(f"{tensor.name} {tensor.type.name} {tensor.shape}\n".encode())
    return digest.digest()
