"""Live streams of jobs and workflows: what they tell, and who may watch."""
