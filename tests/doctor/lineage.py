"""Makes lineages by certbot's own code, and stops it in the middle where that is wanted.

usage: lineage.py ROOT NAME new|renew CERTIFICATE KEY|same CHAIN [WORD...]
words: --reuse-key  as of the command line; unlinked  the new version is not put to use;
       killed=N  the process ends when it makes its Nth link while the new version is put to use
"""

import os
import pathlib
import sys

from certbot._internal import cli, storage
from certbot._internal.plugins import disco

root, name, deed, certificate, key, chain = sys.argv[1:7]
words = sys.argv[7:]
flags = [word for word in words if word.startswith("--")]
folders = ["--config-dir", root, "--work-dir", root + ".work", "--logs-dir", root + ".logs"]
config = cli.prepare_and_parse_args(disco.PluginsRegistry.find_all(), ["certonly", "--cert-name", name] + folders + flags)


def read(path):
    return None if path == "same" else pathlib.Path(path).read_bytes()


if deed == "new":
    storage.RenewableCert.new_lineage(name, read(certificate), read(key), read(chain), config)
    sys.exit()

lineage = storage.RenewableCert(os.path.join(root, "renewal", name + ".conf"), config)
version = lineage.save_successor(lineage.latest_common_version(), read(certificate), read(key), read(chain), config)
if "unlinked" in words:
    sys.exit()
for word in words:
    if word.startswith("killed="):
        left = int(word.removeprefix("killed="))
        really = storage.os.symlink

        def link(*arguments):
            global left
            left -= 1
            if left == 0:
                os._exit(0)
            really(*arguments)

        storage.os.symlink = link
lineage.update_all_links_to(version)
