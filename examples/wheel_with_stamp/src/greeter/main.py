"""Says what its traces would say of it: the commit and the version that it was built from."""

from otel_mlflow_context import detect_resource


def main():
    for attribute, value in sorted(detect_resource().attributes.items()):
        print(f"{attribute} = {value}")


if __name__ == "__main__":
    main()
