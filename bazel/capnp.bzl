"""capnp_library: the one rule that runs the Cap'n Proto schema compiler."""

load("@rules_cc//cc:defs.bzl", "cc_library")

def capnp_library(name, src, visibility = None, testonly = False):
    """C++ code for one schema file.

    Args:
      name: the cc_library; includes are "<package>/<src>.h".
      src: the .capnp file, of this package.
      visibility: as for any rule.
      testonly: as for any rule.
    """
    native.genrule(
        name = name + "_gen",
        srcs = [src],
        outs = [
            src + ".h",
            src + ".c++",
        ],
        cmd = "capnp compile -oc++:$(@D) --src-prefix=$$(dirname $(location %s)) -I/usr/include $(location %s)" % (src, src),
        message = "Compiling schema",
        testonly = testonly,
    )
    cc_library(
        name = name,
        testonly = testonly,
        srcs = [src + ".c++"],
        hdrs = [src + ".h"],
        visibility = visibility,
        deps = ["@system//:capnp-rpc"],
    )
