"""HTTP talks: it turns requests into verbs of the service and answers into JSON. It decides nothing."""
