#!/usr/bin/env python
"""Every command of the product: `python manage.py help`."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bedrock_chat.settings")
    try:
        from django.core.exceptions import ImproperlyConfigured

        from bedrock_chat.start import commands
    except ImportError:
        sys.exit("Django is not installed here: run `make run` once, or `pip install -r requirements.txt`.")
    try:
        commands.execute(sys.argv)
    except ImproperlyConfigured as error:
        sys.exit(f"Configuration: {error}")


if __name__ == "__main__":
    main()
