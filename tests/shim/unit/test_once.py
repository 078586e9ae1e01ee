"""What is done once: by one of many threads, and anew in a child that was forked in the middle."""

import os
import signal
import threading
import warnings

import pytest


@pytest.fixture
def once(shim):
    return shim.ffi.new("struct gb_once *")


def test_once_in_many_threads_is_done_by_one_and_waited_for(shim, once):
    arrived = threading.Semaphore(0)
    acts, seen = [], []

    @shim.ffi.callback("void(void)")
    def act():
        for _ in range(7):
            arrived.acquire()
        acts.append(threading.get_ident())

    def come():
        arrived.release()
        shim.lib.gb_once(once, act)
        seen.append(len(acts))

    threads = [threading.Thread(target=come) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(acts) == 1
    assert seen == [1] * 8


def test_once_that_is_done_is_not_done_again(shim, once):
    acts = []
    act = shim.ffi.callback("void(void)", lambda: acts.append(1))
    shim.lib.gb_once(once, act)
    shim.lib.gb_once(once, act)
    assert acts == [1]


def test_once_in_a_child_forked_in_the_middle_is_done_there(shim, once):
    ended = []
    act_in_child = shim.ffi.callback("void(void)", lambda: os._exit(7))

    @shim.ffi.callback("void(void)")
    def act():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 on: of threads, which do not matter here
            child = os.fork()
        if not child:
            signal.alarm(60)  # one that waited for its parent would wait for ever
            shim.lib.gb_once(once, act_in_child)
            os._exit(1)
        ended.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

    shim.lib.gb_once(once, act)
    assert ended == [7]
