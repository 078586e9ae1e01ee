/* Graphs: operations kept to be replayed, in the order they were added (which is one that their edges allow).
 *
 * A graph owns its nodes; an executable owns copies of them. Memory allocated inside a graph has its address for as
 * long as the graph or an executable of it lives, and costs device memory between its two nodes. Guarded by fk.lock. */
#ifndef FK_GRAPH_H
#define FK_GRAPH_H

#include "work.h"

struct fk_graph_node {
	struct fk_object object;
	struct fk_op *op;
	struct fk_graph_node **dependencies;
	size_t dependency_count;
	bool marked; /* scratch for fk_graph_leads_to */
};

struct fk_graph {
	struct fk_object object;
	struct fk_graph_node **nodes;
	size_t count, room;
};

struct fk_graph *fk_graph_new(void);
void fk_graph_free(struct fk_graph *graph);
/* Takes the operation, whatever happens; NULL: no memory, or a dependency that is no node. */
CUgraphNode fk_graph_add(struct fk_graph *graph, struct fk_op *op, const CUgraphNode *dependencies, size_t count);
bool fk_graph_leads_to(struct fk_graph *graph, CUgraphNode from, const CUgraphNode *ends, size_t count);

#endif
