"""The command line `acs-fast`: a module a subcommand."""
