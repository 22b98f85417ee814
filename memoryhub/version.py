"""The version, which the package, `/health` and OpenAPI report."""

VERSION = "0.2.0"
