"""Where blocking connections are used, and what happens when nobody waits any more."""

import asyncio
import threading

import pytest

from rota.store.foreign.places import beside, thread_that_waits, wait_here


async def in_a_thread(make):
    """Call the blocking door from a thread without a loop; what it gives, and the thread."""
    loop = asyncio.get_running_loop()

    def call():
        return wait_here(make(), loop), threading.current_thread()

    return await asyncio.to_thread(call)


async def test_a_call_is_made_in_the_thread_that_waits_while_the_loop_goes_on():
    here = threading.current_thread()

    async def ask():
        home = thread_that_waits()
        moved = asyncio.Event()
        asyncio.get_running_loop().call_later(0, moved.set)
        seen = await home.run(threading.current_thread)
        await moved.wait()
        return seen, threading.current_thread()

    (seen, asker), thread = await in_a_thread(ask)
    assert (seen, asker) == (thread, here)
    assert thread is not here


async def test_what_a_call_raises_is_the_askers():
    async def ask():
        await thread_that_waits().run(lambda: 1 // 0)

    with pytest.raises(ZeroDivisionError):
        await in_a_thread(ask)


async def test_tasks_that_were_started_meanwhile_have_no_thread_that_waits():
    async def ask():
        async def other():
            return thread_that_waits()

        return await asyncio.create_task(other())

    assert (await in_a_thread(ask))[0] is None
    assert thread_that_waits() is None


@pytest.mark.parametrize("way", ["at home", "beside"])
async def test_who_is_cancelled_waits_until_the_connection_is_free(way):
    begun, go, ended = threading.Event(), threading.Event(), threading.Event()

    def use_connection():
        begun.set()
        go.wait(30)
        ended.set()

    async def ask():
        await (thread_that_waits().run(use_connection) if way == "at home" else beside(use_connection))

    async def cancelled():
        task = asyncio.current_task()
        loop = asyncio.get_running_loop()

        def cancel():
            begun.wait(30)
            loop.call_soon_threadsafe(task.cancel)
            loop.call_soon_threadsafe(loop.call_soon, go.set)

        threading.Thread(target=cancel).start()
        try:
            await ask()
        except asyncio.CancelledError:
            return ended.is_set()

    assert (await in_a_thread(cancelled))[0] is True


async def test_many_that_wait_for_a_lock_do_not_keep_out_who_holds_it():
    lock = threading.Event()
    waiting = [asyncio.create_task(beside(lambda: lock.wait(30))) for _ in range(100)]
    await beside(lock.set)
    assert all(await asyncio.gather(*waiting))
