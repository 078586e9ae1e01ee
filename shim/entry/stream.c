/* Captures begin and end here, and a call that waited for the device is the moment to give back what streams have done
 * with, for chunks to return to VRAM, and to look after the lease. The real call's answer is the hook's answer, always.
 *
 * A capture begins inside the gate, and is in our list before the gate is left: whoever has closed the gate finds either
 * every capture in the list, or none begun. */
#include "alloc/capture.h"
#include "alloc/deferred.h"
#include "alloc/gate.h"
#include "alloc/moves.h"
#include "entry/entry.h"
#include "lease/lease.h"

static CUresult began(CUresult result, CUstream stream)
{
	if (result == CUDA_SUCCESS)
		gb_capture_began(stream);
	return result;
}

static CUresult ended(CUresult result, CUstream stream)
{
	gb_capture_ended(stream);
	gb_deferred_reap(false);
	return result;
}

static CUresult waited(CUresult result)
{
	gb_deferred_reap(false);
	gb_moves_safe_point();
	gb_lease_keep();
	return result;
}

CUresult cuStreamBeginCapture(CUstream stream)
{
	GB_ENTER(cuStreamBeginCapture, (stream));
	GB_GATE_PASS();
	return began(driver->cuStreamBeginCapture(stream), stream);
}

CUresult cuStreamBeginCapture_ptsz(CUstream stream)
{
	GB_ENTER(cuStreamBeginCapture_ptsz, (stream));
	GB_GATE_PASS();
	return began(driver->cuStreamBeginCapture_ptsz(stream), gb_per_thread(stream));
}

CUresult cuStreamBeginCapture_v2(CUstream stream, CUstreamCaptureMode mode)
{
	GB_ENTER(cuStreamBeginCapture_v2, (stream, mode));
	GB_GATE_PASS();
	return began(driver->cuStreamBeginCapture_v2(stream, mode), stream);
}

CUresult cuStreamBeginCapture_v2_ptsz(CUstream stream, CUstreamCaptureMode mode)
{
	GB_ENTER(cuStreamBeginCapture_v2_ptsz, (stream, mode));
	GB_GATE_PASS();
	return began(driver->cuStreamBeginCapture_v2_ptsz(stream, mode), gb_per_thread(stream));
}

CUresult cuStreamBeginCaptureToGraph(CUstream stream, CUgraph graph, const CUgraphNode *dependencies,
				     const CUgraphEdgeData *dependency_data, size_t count, CUstreamCaptureMode mode)
{
	GB_ENTER(cuStreamBeginCaptureToGraph, (stream, graph, dependencies, dependency_data, count, mode));
	GB_GATE_PASS();
	return began(driver->cuStreamBeginCaptureToGraph(stream, graph, dependencies, dependency_data, count, mode),
		     stream);
}

CUresult cuStreamBeginCaptureToGraph_ptsz(CUstream stream, CUgraph graph, const CUgraphNode *dependencies,
					  const CUgraphEdgeData *dependency_data, size_t count,
					  CUstreamCaptureMode mode)
{
	GB_ENTER(cuStreamBeginCaptureToGraph_ptsz, (stream, graph, dependencies, dependency_data, count, mode));
	GB_GATE_PASS();
	return began(
		driver->cuStreamBeginCaptureToGraph_ptsz(stream, graph, dependencies, dependency_data, count, mode),
		gb_per_thread(stream));
}

CUresult cuStreamEndCapture(CUstream stream, CUgraph *graph)
{
	GB_ENTER(cuStreamEndCapture, (stream, graph));
	return ended(driver->cuStreamEndCapture(stream, graph), stream);
}

CUresult cuStreamEndCapture_ptsz(CUstream stream, CUgraph *graph)
{
	GB_ENTER(cuStreamEndCapture_ptsz, (stream, graph));
	return ended(driver->cuStreamEndCapture_ptsz(stream, graph), gb_per_thread(stream));
}

CUresult cuStreamSynchronize(CUstream stream)
{
	GB_ENTER(cuStreamSynchronize, (stream));
	return waited(driver->cuStreamSynchronize(stream));
}

CUresult cuStreamSynchronize_ptsz(CUstream stream)
{
	GB_ENTER(cuStreamSynchronize_ptsz, (stream));
	return waited(driver->cuStreamSynchronize_ptsz(stream));
}

CUresult cuCtxSynchronize(void)
{
	GB_ENTER(cuCtxSynchronize, ());
	return waited(driver->cuCtxSynchronize());
}

CUresult cuCtxSynchronize_v2(CUcontext context)
{
	GB_ENTER(cuCtxSynchronize_v2, (context));
	return waited(driver->cuCtxSynchronize_v2(context));
}

CUresult cuEventSynchronize(CUevent event)
{
	GB_ENTER(cuEventSynchronize, (event));
	return waited(driver->cuEventSynchronize(event));
}
