#include "graph.h"

#include <stdlib.h>

#include "api.h"
#include "capture.h"
#include "pool.h"
#include "stream.h"

struct fk_exec {
	struct fk_object object;
	struct fk_op **ops;
	size_t count;
	unsigned long long flags;
};

struct fk_graph *fk_graph_new(void)
{
	struct fk_graph *graph = calloc(1, sizeof(*graph));

	if (!graph)
		return NULL;
	fk_object_add(&graph->object, FK_GRAPH);
	fk_hold(FK_FIGURE_graphs, 1);
	return graph;
}

/* An operation kept in a graph or an executable holds on to the graph memory it names. */
static void retain(const struct fk_op *op)
{
	if (op->kind == FK_OP_GRAPH_ALLOC)
		fk_pool_graph_retain(op->u.memory.address);
}

static void drop_op(struct fk_op *op)
{
	if (op->kind == FK_OP_GRAPH_ALLOC)
		fk_pool_graph_release(op->u.memory.address);
	fk_op_free(op);
}

static void free_node(struct fk_graph_node *node)
{
	fk_object_drop(&node->object);
	drop_op(node->op);
	free(node->dependencies);
	free(node);
}

void fk_graph_free(struct fk_graph *graph)
{
	for (size_t i = 0; i < graph->count; i++)
		free_node(graph->nodes[i]);
	free(graph->nodes);
	fk_object_drop(&graph->object);
	fk_drop(FK_FIGURE_graphs, 1);
	free(graph);
}

static bool add_dependencies(struct fk_graph_node *node, const CUgraphNode *dependencies, size_t count)
{
	node->dependencies = calloc(count + 1, sizeof(*node->dependencies));
	for (size_t i = 0; node->dependencies && i < count; i++) {
		node->dependencies[i] = fk_object_find(dependencies[i], FK_NODE);
		if (!node->dependencies[i])
			return false;
	}
	node->dependency_count = count;
	return node->dependencies != NULL;
}

CUgraphNode fk_graph_add(struct fk_graph *graph, struct fk_op *op, const CUgraphNode *dependencies, size_t count)
{
	struct fk_graph_node *node = calloc(1, sizeof(*node));
	struct fk_graph_node **nodes = graph->nodes;

	if (graph->count == graph->room) {
		nodes = realloc(nodes, (graph->room ? 2 * graph->room : 8) * sizeof(*nodes));
		if (nodes) {
			graph->nodes = nodes;
			graph->room = graph->room ? 2 * graph->room : 8;
		}
	}
	if (!node || !nodes || !add_dependencies(node, dependencies, count)) {
		if (node)
			free(node->dependencies);
		free(node);
		fk_op_free(op);
		return NULL;
	}
	if (op->kind == FK_OP_COPY)
		op->u.copy.to.identity = op->u.copy.from.identity =
			0; /* whose memory it is matters when it is replayed */
	else if (op->kind == FK_OP_SET)
		op->u.set.to.identity = 0;
	node->op = op;
	retain(op);
	fk_object_add(&node->object, FK_NODE);
	graph->nodes[graph->count++] = node;
	return (CUgraphNode)(void *)node;
}

bool fk_graph_leads_to(struct fk_graph *graph, CUgraphNode from, const CUgraphNode *ends, size_t count)
{
	for (size_t i = 0; i < graph->count; i++)
		graph->nodes[i]->marked = false;
	for (size_t i = 0; i < count; i++) {
		struct fk_graph_node *end = fk_object_find(ends[i], FK_NODE);

		if (end)
			end->marked = true;
	}
	for (size_t i = graph->count; i-- > 0;) /* a node comes after all it depends on */
		for (size_t j = 0; graph->nodes[i]->marked && j < graph->nodes[i]->dependency_count; j++)
			graph->nodes[i]->dependencies[j]->marked = true;
	return ((struct fk_graph_node *)(void *)from)->marked;
}

CUresult fk_graph_create(CUgraph *handle, unsigned int flags)
{
	struct fk_graph *graph;

	if (!handle || flags)
		return CUDA_ERROR_INVALID_VALUE;
	graph = fk_graph_new();
	*handle = (CUgraph)(void *)graph;
	return graph ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult fk_graph_destroy(CUgraph handle)
{
	struct fk_graph *graph = fk_object_find(handle, FK_GRAPH);

	if (!graph)
		return CUDA_ERROR_INVALID_VALUE;
	for (struct fk_capture *capture = fk.captures; capture; capture = capture->next)
		if (capture->graph == graph)
			return CUDA_ERROR_INVALID_VALUE; /* being captured into */
	fk_graph_free(graph);
	return CUDA_SUCCESS;
}

CUresult fk_graph_nodes(CUgraph handle, CUgraphNode *nodes, size_t *count)
{
	struct fk_graph *graph = fk_object_find(handle, FK_GRAPH);

	if (!graph || !count)
		return CUDA_ERROR_INVALID_VALUE;
	for (size_t i = 0; nodes && i < *count; i++)
		nodes[i] = i < graph->count ? (CUgraphNode)(void *)graph->nodes[i] : NULL;
	if (!nodes || *count > graph->count)
		*count = graph->count;
	return CUDA_SUCCESS;
}

CUresult fk_graph_node_type(CUgraphNode handle, CUgraphNodeType *type)
{
	static const int types[] = {
		[FK_OP_COPY] = CU_GRAPH_NODE_TYPE_MEMCPY,
		[FK_OP_SET] = CU_GRAPH_NODE_TYPE_MEMSET,
		[FK_OP_HOST] = CU_GRAPH_NODE_TYPE_HOST,
		[FK_OP_RECORD] = CU_GRAPH_NODE_TYPE_EVENT_RECORD,
		[FK_OP_WAIT] = CU_GRAPH_NODE_TYPE_WAIT_EVENT,
		[FK_OP_EMPTY] = CU_GRAPH_NODE_TYPE_EMPTY,
		[FK_OP_GRAPH_ALLOC] = CU_GRAPH_NODE_TYPE_MEM_ALLOC,
		[FK_OP_GRAPH_FREE] = CU_GRAPH_NODE_TYPE_MEM_FREE,
	};
	struct fk_graph_node *node = fk_object_find(handle, FK_NODE);

	if (!node || !type)
		return CUDA_ERROR_INVALID_VALUE;
	*type = types[node->op->kind];
	return CUDA_SUCCESS;
}

static CUresult add_node(CUgraphNode *out, CUgraph handle, const CUgraphNode *dependencies, size_t count,
			 struct fk_op *op)
{
	struct fk_graph *graph = fk_object_find(handle, FK_GRAPH);

	if (!op)
		return CUDA_ERROR_OUT_OF_MEMORY;
	if (!graph || !out || (count && !dependencies)) {
		fk_op_free(op);
		return CUDA_ERROR_INVALID_VALUE;
	}
	*out = fk_graph_add(graph, op, dependencies, count);
	return *out ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult fk_graph_add_empty(CUgraphNode *out, CUgraph graph, const CUgraphNode *dependencies, size_t count)
{
	return add_node(out, graph, dependencies, count, fk_op_new(FK_OP_EMPTY));
}

CUresult fk_graph_add_host(CUgraphNode *out, CUgraph graph, const CUgraphNode *dependencies, size_t count,
			   const CUDA_HOST_NODE_PARAMS *parameters)
{
	struct fk_op *op;

	if (!parameters || !parameters->fn)
		return CUDA_ERROR_INVALID_VALUE;
	op = fk_op_new(FK_OP_HOST);
	if (op) {
		op->u.host.function = parameters->fn;
		op->u.host.data = parameters->userData;
	}
	return add_node(out, graph, dependencies, count, op);
}

static struct fk_op *copy_op(const struct fk_op *op)
{
	struct fk_op *copy = fk_op_new(op->kind);

	if (copy)
		copy->u = op->u;
	return copy;
}

static void free_exec(struct fk_exec *exec)
{
	for (size_t i = 0; i < exec->count; i++)
		drop_op(exec->ops[i]);
	free(exec->ops);
	free(exec);
}

CUresult fk_graph_instantiate(CUgraphExec *handle, CUgraph graph_handle, unsigned long long flags)
{
	struct fk_graph *graph = fk_object_find(graph_handle, FK_GRAPH);
	struct fk_exec *exec;

	if (!handle || !graph || flags > 15)
		return CUDA_ERROR_INVALID_VALUE;
	exec = calloc(1, sizeof(*exec));
	if (exec)
		exec->ops = calloc(graph->count + 1, sizeof(struct fk_op *));
	for (size_t i = 0; exec && exec->ops && i < graph->count; i++) {
		exec->ops[i] = copy_op(graph->nodes[i]->op);
		if (!exec->ops[i])
			break;
		retain(exec->ops[i]);
		exec->count++;
	}
	if (!exec || !exec->ops || exec->count < graph->count) {
		if (exec)
			free_exec(exec);
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	exec->flags = flags;
	fk_object_add(&exec->object, FK_EXEC);
	fk_hold(FK_FIGURE_graph_execs, 1);
	*handle = (CUgraphExec)(void *)exec;
	return CUDA_SUCCESS;
}

CUresult fk_graph_instantiate_logged(CUgraphExec *handle, CUgraph graph, CUgraphNode *error_node, char *log,
				     size_t size)
{
	CUresult result = fk_graph_instantiate(handle, graph, 0);

	if (error_node)
		*error_node = NULL;
	if (log && size)
		*log = '\0';
	return result;
}

CUresult fk_graph_instantiate_params(CUgraphExec *handle, CUgraph graph, CUDA_GRAPH_INSTANTIATE_PARAMS *parameters)
{
	CUresult result;

	if (!parameters)
		return CUDA_ERROR_INVALID_VALUE;
	result = fk_graph_instantiate(handle, graph, parameters->flags);
	parameters->hErrNode_out = NULL;
	parameters->result_out = result != CUDA_SUCCESS;
	return result;
}

CUresult fk_graph_exec_destroy(CUgraphExec handle)
{
	struct fk_exec *exec = fk_object_find(handle, FK_EXEC);

	if (!exec)
		return CUDA_ERROR_INVALID_VALUE;
	fk_object_drop(&exec->object);
	fk_drop(FK_FIGURE_graph_execs, 1);
	free_exec(exec);
	return CUDA_SUCCESS;
}

/* Memory that the last launch allocated and nobody freed: with AUTO_FREE_ON_LAUNCH it goes, else the launch is
 * refused. */
static CUresult settle_memory(const struct fk_exec *exec)
{
	for (size_t i = 0; i < exec->count; i++) {
		if (exec->ops[i]->kind != FK_OP_GRAPH_ALLOC || !fk_pool_graph_live(exec->ops[i]->u.memory.address))
			continue;
		if (!(exec->flags & 1))
			return CUDA_ERROR_INVALID_VALUE;
		fk_pool_graph_free(exec->ops[i]->u.memory.address);
	}
	return CUDA_SUCCESS;
}

CUresult fk_graph_launch(struct fk_call *call, CUgraphExec handle, CUstream stream_handle)
{
	struct fk_exec *exec = fk_object_find(handle, FK_EXEC);
	struct fk_stream *stream;
	CUresult result = fk_stream_of(call, stream_handle, &stream);

	if (result != CUDA_SUCCESS)
		return result;
	if (!exec)
		return CUDA_ERROR_INVALID_VALUE;
	if (!stream->capture)
		result = settle_memory(exec);
	for (size_t i = 0; result == CUDA_SUCCESS && i < exec->count; i++) {
		struct fk_op *op = copy_op(exec->ops[i]);

		if (op && op->kind == FK_OP_RECORD) { /* an external record: from now on the event means this one */
			struct fk_event *event = fk_object_find(op->u.record.event, FK_EVENT);

			op->u.record.event = event;
			if (event && event->pending)
				event->pending->u.record.event = NULL;
			if (event)
				event->pending = op;
		}
		result = fk_submit(stream, op);
	}
	return result;
}

CUresult fk_graph_upload(struct fk_call *call, CUgraphExec handle, CUstream stream_handle)
{
	struct fk_stream *stream;
	CUresult result = fk_stream_of(call, stream_handle, &stream);

	if (result != CUDA_SUCCESS)
		return result;
	return fk_object_find(handle, FK_EXEC) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}
