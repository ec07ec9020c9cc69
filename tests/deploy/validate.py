"""Validates Kubernetes objects strictly: a field that the API does not have is an error, not a thing to be dropped.

    validate.py MONITORS.schema.json VERSION... < OBJECTS.json

Run by the Python of the tests' virtual environment. Prints a line per error.
"""

import json
import sys

import jsonschema
import kubernetes_validate


def errors_of(one, version, monitors):
    if one["apiVersion"].startswith("monitoring.coreos.com/"):
        return [error.message for error in jsonschema.Draft202012Validator(monitors).iter_errors(one)]
    try:
        used = kubernetes_validate.validate(one, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        return [f"{'.'.join(map(str, error.path))}: {error.message}"]
    except kubernetes_validate.SchemaNotFoundError as error:
        return [error.message]
    # It takes an older version's schema where it has none.
    return [] if used.startswith(version) else [f"validated against {used}"]


def main():
    schema, *versions = sys.argv[1:]
    with open(schema, encoding="utf-8") as file:
        monitors = json.load(file)
    objects = json.load(sys.stdin)
    for version in versions:
        for one in objects:
            for error in errors_of(one, version, monitors):
                print(f"{version}: {one['kind']} {one['metadata']['name']}: {error}")


main()
