"""What the pages of jobs and workflows are made of."""
