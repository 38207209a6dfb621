#pragma once

// The hot loops, in plain C: free functions on primitive arguments that own no memory. Each is compiled once per
// instruction set and chosen when it is first called.

#include "distances.h"
#include "graph_build.h"
#include "hash.h"
#include "item_search.h"
#include "layers.h"
#include "scan.h"
#include "sq4.h"
#include "sq8.h"
