"""Makes up histories for `manage.py seed_demo`: what a platform looks like that has been busy for days."""
