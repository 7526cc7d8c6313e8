"""The model on the node's disk: waiting for its download, and holding its files to a manifest."""
