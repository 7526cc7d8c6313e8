// Included by the host pass.
