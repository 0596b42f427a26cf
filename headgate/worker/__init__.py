"""The worker acts: it claims, calls and settles, in the background of the serving process."""
