"""What lies behind the lessons: experiments, and the statements of the papers with their checks."""
