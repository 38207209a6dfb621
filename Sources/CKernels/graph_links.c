#include "graph_walk.h"

// How much room a row has above level 0.
static size_t upper_room(const belfry_graph *graph, size_t row) {
    return graph->offsets[row + 1] - graph->offsets[row] - (size_t)graph->level_ends[1];
}

void belfry_copy_links_from(const int32_t *neighbours, const belfry_graph *graph, size_t first, size_t end) {
    const size_t room = (size_t)graph->level_ends[1];
    for (size_t row = first; row < end; row++) {
        const int32_t *from = neighbours + graph->offsets[row];
        memcpy(links_of(graph, (uint32_t)row, 0), from, room * sizeof *from);
        const size_t upper = upper_room(graph, row);
        if (upper > 0) memcpy(links_of(graph, (uint32_t)row, 1), from + room, upper * sizeof *from);
    }
}

void belfry_copy_links_to(int32_t *neighbours, const belfry_graph *graph, size_t count) {
    const size_t room = (size_t)graph->level_ends[1];
    for (size_t row = 0; row < count; row++) {
        int32_t *to = neighbours + graph->offsets[row];
        memcpy(to, links_of(graph, (uint32_t)row, 0), room * sizeof *to);
        const size_t upper = upper_room(graph, row);
        if (upper > 0) memcpy(to + room, links_of(graph, (uint32_t)row, 1), upper * sizeof *to);
    }
}
