# What the suites in Java share: nothing but Maven.
