"""Tests of the container image, which `make test-image` builds and names; without it there is nothing to test."""

import os

collect_ignore_glob = [] if os.environ.get("ANALYTICS_IMAGE") else ["test_*"]
