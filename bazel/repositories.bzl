"""Local overrides, so that neither this workspace nor one that depends on it downloads anything."""

def ledgerd_repositories(root = "."):
    """Declares the repositories that ledgerd's targets need.

    Args:
      root: path of the ledgerd checkout, relative to the calling workspace.
    """
    for name in ["system", "rules_cc", "remote_coverage_tools"]:
        native.local_repository(name = name, path = root + "/third_party/" + name)
    native.local_repository(name = "rules_java", path = "/usr/share/bazel/rules/java")
    native.local_repository(name = "rules_proto", path = "/usr/share/bazel/rules/proto")
