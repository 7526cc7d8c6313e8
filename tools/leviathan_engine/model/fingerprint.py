"""Computes a fingerprint of a model's files, to identify data that was computed from them, such as the KV cache."""

from hashlib import blake2b

from leviathan_engine.gguf import Model

#: Changes when the meaning of a KV cache page changes: KTransformers' version, and our version of the layout.
LAYOUT = "ktransformers 0.2.1.post1, latent pages 1"


def fingerprint(model: Model) -> bytes:
    """Returns 20 bytes that differ for another model, quantisation, file or cache layout.

    Does not read weights: files are identified by name, size and modification time, so a copy of the files counts as
    another model. Errors: OSError for a missing file.
    """
    digest = blake2b(LAYOUT.encode(), digest_size=20)
    for part in model.parts:
        digest.update(f"{part.path.name} {part.file_size} {part.path.stat().st_mtime_ns}\n".encode())
    for tensor in model.tensors.values():
        digest.update(f"{tensor.name} {tensor.type.name} {tensor.shape}\n".encode())
    return digest.digest()
