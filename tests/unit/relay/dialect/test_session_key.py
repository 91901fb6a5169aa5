"""The key of a conversation."""

from relay.dialect.session_key import session_key


def test_turns_of_one_conversation_have_one_key() -> None:
    turns = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]
    later = [*turns, {"role": "assistant", "content": "a"}, {"role": "user", "content": "v"}]
    assert session_key({"messages": turns}, None) == session_key({"messages": later}, None)
    other = [turns[0], {"role": "user", "content": "w"}]
    assert session_key({"messages": turns}, None) != session_key({"messages": other}, None)
    assert session_key({"messages": turns}, b"id") == session_key({"messages": other}, b"id")
    cached = {"prompt_cache_key": "k"}
    assert session_key(cached | {"messages": turns}, b"id") == session_key(cached, None)
    assert session_key({"input": "x"}, None) == session_key({"input": ["x", "y"]}, None)
    assert session_key({"model": "m"}, None) is None
