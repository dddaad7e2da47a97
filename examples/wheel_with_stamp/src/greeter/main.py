"""Prints the resource attributes of this program: among them, commit and version."""

from otel_mlflow_context import detect_resource


def main():
    for attribute, value in sorted(detect_resource().attributes.items()):
        print(f"{attribute} = {value}")


if __name__ == "__main__":
    main()
