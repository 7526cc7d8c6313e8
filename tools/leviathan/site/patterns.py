"""Regular expressions for strings in the site file."""

NAME = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
ADDRESS = r"(\[[0-9a-fA-F:]+\]|[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?)"
#: A port, from 1 to 65535.
PORT = r"([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
HOST = rf"{ADDRESS}(:{PORT})?"
REPOSITORY = r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*"
TAG = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}"
DIGEST = r"sha256:[0-9a-f]{64}"
PARTITION = (
    r"/dev/((nvme[0-9]+n|mmcblk|loop)[0-9]+p[0-9]+|(sd|vd|xvd)[a-z]+[0-9]+"
    r"|disk/by-(id|path|partuuid|partlabel|uuid|label)/\S+|mapper/[^/\s]+|dm-[0-9]+|md[0-9]+(p[0-9]+)?|md/[^/\s]+)"
)
LABEL = r"([a-z0-9]([-.a-z0-9]*[a-z0-9])?/)?[A-Za-z0-9]([-._A-Za-z0-9]*[A-Za-z0-9])?=[-._A-Za-z0-9]*"
RESOURCE = r"[a-z0-9]([-.a-z0-9]*[a-z0-9])?/[A-Za-z0-9]([-._A-Za-z0-9]*[A-Za-z0-9])?"
URL = r"https?://[^\s/?#@]+(/[^\s?#]*)?"
REPO = r"[A-Za-z0-9][-.\w]*/[A-Za-z0-9][-.\w]*"
DNS = r"[a-z0-9]([-.a-z0-9]*[a-z0-9])?"
ABSOLUTE = r"/|(/[^/\s]+)+"
