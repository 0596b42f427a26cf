"""What Headgate is compared with: small applications, each as simple as it can be."""
