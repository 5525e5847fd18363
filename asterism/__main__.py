"""`python -m asterism` is `asterism`."""

from asterism.cli import main

raise SystemExit(main())
