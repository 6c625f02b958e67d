# SPDX-License-Identifier: Apache-2.0
@0xa6de684f0b3322c3;
# The least that a call can be: what floor-bench measures Cap'n Proto itself with.

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("ledger::bench");

interface Ping @0xee3b5831bd51cfe9 {
  ping @0 () -> ();
}
