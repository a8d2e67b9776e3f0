"""Checks a manifest against the schema that Kubernetes publishes, unknown fields included, and prints it as JSON."""

import json
import sys

import kubernetes_validate
import yaml

version, path = sys.argv[1:]
with open(path) as file:
    manifest = yaml.safe_load(file)
kubernetes_validate.validate(manifest, version, strict=True)
print(json.dumps(manifest))
