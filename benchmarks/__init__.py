"""The figures that Headgate names, each measured beside what it is compared with, in one run."""
