"""Where it is stored: a git repository, kept durable. Blocking. The only importer of dulwich."""
