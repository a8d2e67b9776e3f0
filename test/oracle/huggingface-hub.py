"""Downloads a model with the official client and prints what it saw, as JSON. Arguments: repository, cache directory."""

import hashlib
import json
import os
import sys

from huggingface_hub import HfApi, get_hf_file_metadata, hf_hub_url, snapshot_download
from huggingface_hub.errors import EntryNotFoundError, GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

repo, cache = sys.argv[1:3]
api = HfApi()


def caught(work):
    try:
        work()
    except Exception as error:
        return type(error).__name__
    return None


folder = snapshot_download(repo, cache_dir=cache)
files = {}
for root, _, names in os.walk(folder):
    for name in names:
        path = os.path.join(root, name)
        with open(path, "rb") as file:
            files[os.path.relpath(path, folder)] = hashlib.sha256(file.read()).hexdigest()

info = api.model_info(repo, files_metadata=False)
tree = {
    item.path: [item.size, item.lfs.sha256 if item.lfs else None]
    for item in api.list_repo_tree(repo, recursive=True)
    if hasattr(item, "size")
}
paths = [[item.path, item.size] for item in api.get_paths_info(repo, ["config.json", "none"])]
heads = {}
for path in files:
    head = get_hf_file_metadata(hf_hub_url(repo, path))
    heads[path] = [head.commit_hash, head.etag, head.size]

print(
    json.dumps(
        {
            "commit": os.path.basename(folder),
            "sha": info.sha,
            "files": files,
            "tree": tree,
            "paths": paths,
            "heads": heads,
            "errors": {
                "repo": caught(lambda: api.model_info("org/none")),
                "revision": caught(lambda: api.model_info(repo, revision="none")),
                "file": caught(lambda: get_hf_file_metadata(hf_hub_url(repo, "none"))),
                "gated": caught(lambda: get_hf_file_metadata(hf_hub_url("org/gated", "config.json"))),
            },
        }
    )
)
