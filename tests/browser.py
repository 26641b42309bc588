"""A headless Chromium for tests, over the DevTools protocol's pipe; the standard library only.

Messages are JSON, each ended by a zero byte: to the browser on its descriptor 3, from it on 4.
"""

from __future__ import annotations

import base64
import json
import os
import pathlib
import select
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
  *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
  *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
  *("--disable-dev-shm-usage", "--hide-scrollbars", "--remote-debugging-pipe"),
)


def executable() -> str | None:
  """The browser found on the path, or None."""
  return next(filter(None, map(shutil.which, NAMES)), None)


# A promise of two frames: by then the page has heard of what was done, and drawn.
FRAMES = "new Promise((d) => requestAnimationFrame(() => requestAnimationFrame(d)))"


def loaded(event: dict[str, Any]) -> bool:
  """Whether a page has been loaded, its scripts and pictures too."""
  return event.get("method") == "Page.lifecycleEvent" and event["params"]["name"] == "load"


def navigated(event: dict[str, Any]) -> bool:
  """Whether a frame has gone to another address."""
  return event.get("method") == "Page.frameNavigated"


class Browser:
  """One page of a headless browser; a context manager."""

  def __init__(self, width: int = 1280, height: int = 1600):
    self._profile = tempfile.mkdtemp()
    to_read, self._write = os.pipe()
    self._read, to_write = os.pipe()
    # The browser's ends go to descriptors 3 and 4 through a shell: dup2 in the child by hand
    # would need a function between fork and exec, which threads make unsafe.
    command = f'exec "$0" "$@" 3<&{to_read} 4>&{to_write}'
    arguments = [str(executable()), *FLAGS, f"--user-data-dir={self._profile}", "about:blank"]
    with open(os.path.join(self._profile, "stderr.txt"), "wb") as log:
      self._process = subprocess.Popen(
        ["bash", "-c", command, *arguments],
        pass_fds=(to_read, to_write),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
      )
    os.close(to_read)
    os.close(to_write)
    self._buffer, self._number = b"", 0
    self.session: str | None = None
    self.events: list[dict[str, Any]] = []
    targets = self.call("Target.getTargets")["targetInfos"]
    target = next(t["targetId"] for t in targets if t["type"] == "page")
    self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
    for domain in ("Page", "Runtime", "Log", "Network"):
      self.call(f"{domain}.enable")
    self.call("Page.setLifecycleEventsEnabled", enabled=True)
    self.resize(width, height)

  def __enter__(self) -> Browser:
    return self

  def __exit__(self, *_: Any) -> None:
    # The whole session that was started here, by its own id.
    os.killpg(self._process.pid, signal.SIGKILL)
    self._process.wait()
    os.close(self._write)
    os.close(self._read)
    shutil.rmtree(self._profile, ignore_errors=True)

  def call(self, method: str, **parameters: Any) -> dict[str, Any]:
    """Sends a command and returns its result; events that come meanwhile are kept."""
    self._number += 1
    message = {"id": self._number, "method": method, "params": parameters}
    if self.session:
      message["sessionId"] = self.session
    os.write(self._write, json.dumps(message).encode() + b"\0")
    while (answer := self._receive()).get("id") != self._number:
      self.events.append(answer)
    if "error" in answer:
      raise RuntimeError(f"{method}: {answer['error']}")
    return answer["result"]

  def _receive(self, patience: float = 60.0) -> dict[str, Any]:
    deadline = time.monotonic() + patience
    while b"\0" not in self._buffer:
      left = deadline - time.monotonic()
      ready = left > 0 and select.select([self._read], [], [], left)[0]
      piece = os.read(self._read, 1 << 16) if ready else b""
      if not piece:
        log = pathlib.Path(self._profile, "stderr.txt").read_text(errors="replace")
        raise RuntimeError(f"the browser ended or hangs; it said: {log[-2000:]}")
      self._buffer += piece
    text, _, self._buffer = self._buffer.partition(b"\0")
    return json.loads(text)

  def open(self, file: pathlib.Path) -> None:
    """Opens a file and waits until it is loaded; events before it are forgotten."""
    self.events = []
    loader = self.call("Page.navigate", url=file.resolve().as_uri())["loaderId"]
    # By its loader: the load event of a page that was left just before may come only now.
    self.wait(loaded, lambda event: event["params"]["loaderId"] == loader)

  def followed(self) -> str:
    """Waits until a link that was clicked has been followed and loaded; returns its address."""
    self.wait(navigated, lambda event: "parentId" not in event["params"]["frame"])
    frame = next(event for event in self.events if navigated(event))["params"]["frame"]
    self.wait(loaded, lambda event: event["params"]["loaderId"] == frame["loaderId"])
    return frame["url"]

  def wait(self, of: Callable[[dict[str, Any]], bool], which: Callable[..., bool]) -> None:
    """Reads events until one is `of` a kind and the one wanted."""
    while not any(of(event) and which(event) for event in self.events):
      self.events.append(self._receive())

  def resize(self, width: int, height: int) -> None:
    """Sets the size of the window in pixels."""
    size = dict(width=width, height=height, deviceScaleFactor=1, mobile=False)
    self.call("Emulation.setDeviceMetricsOverride", **size)

  def dark(self, on: bool) -> None:
    """Asks for dark or light colours, as the user's system would."""
    feature = {"name": "prefers-color-scheme", "value": "dark" if on else "light"}
    self.call("Emulation.setEmulatedMedia", features=[feature])

  def run(self, script: str) -> Any:
    """Evaluates a JavaScript expression in the page and returns its JSON value."""
    answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
    if "exceptionDetails" in answer:
      raise RuntimeError(json.dumps(answer["exceptionDetails"])[:1500])
    return answer["result"].get("value")

  def place(self, selector: str, index: int = 0) -> tuple[float, float]:
    """The middle of an element in the window, after scrolling it into view."""
    script = (
      f"(async () => {{ const e = document.querySelectorAll({json.dumps(selector)})[{index}];"
      "e.scrollIntoView({block: 'center', inline: 'center'});"
      # The page hears of the scrolling with the next frame.
      f"await {FRAMES}; const b = e.getBoundingClientRect();"
      "return [b.x + b.width / 2, b.y + b.height / 2]; })()"
    )
    x, y = self.run(script)
    return x, y

  def hover(self, selector: str, index: int = 0) -> None:
    """Moves the mouse over an element."""
    x, y = self.place(selector, index)
    self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

  def click(self, selector: str, index: int = 0) -> None:
    """Clicks on an element with the mouse."""
    x, y = self.place(selector, index)
    for kind in ("mousePressed", "mouseReleased"):
      where = dict(x=x, y=y, button="left", clickCount=1)
      self.call("Input.dispatchMouseEvent", type=kind, **where)

  def type(self, selector: str, text: str) -> None:
    """Clicks into a text field, empties it and types."""
    self.click(selector)
    self.run(f"document.querySelector({json.dumps(selector)}).select()")
    self.key("Backspace", 8)
    self.call("Input.insertText", text=text)
    self.run(FRAMES)

  def key(self, name: str, code: int, text: str = "") -> None:
    """Presses a key in whatever has the focus."""
    key = dict(key=name, code=name, windowsVirtualKeyCode=code, text=text)
    self.call("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", **key)
    self.call("Input.dispatchKeyEvent", type="keyUp", **{**key, "text": ""})

  def choose(self, selector: str, value: str) -> None:
    """Chooses an option of a select by its value."""
    self.run(
      f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
      f"e.value = {json.dumps(value)}; e.dispatchEvent(new Event('change')); }})()"
    )

  def requests(self) -> list[str]:
    """Addresses asked for since the page was opened."""
    sent = (e for e in self.events if e.get("method") == "Network.requestWillBeSent")
    return [event["params"]["request"]["url"] for event in sent]

  def complaints(self) -> list[str]:
    """Errors and warnings of the console, uncaught exceptions and refusals of the policy."""
    self.run("new Promise((done) => setTimeout(done, 20))")
    found = []
    for event in self.events:
      method, parameters = event.get("method"), event.get("params", {})
      if method == "Runtime.exceptionThrown":
        found.append(json.dumps(parameters["exceptionDetails"])[:1500])
      elif method == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "warning"):
        found.append(json.dumps(parameters["args"])[:1500])
      elif method == "Log.entryAdded" and parameters["entry"]["level"] in ("error", "warning"):
        found.append(parameters["entry"]["text"])
    return found

  def screenshot(self, file: pathlib.Path) -> None:
    """Writes a PNG of the window."""
    picture = self.call("Page.captureScreenshot", format="png")["data"]
    file.write_bytes(base64.b64decode(picture))
