// A component that is loaded when it is first shown, so that the first load of the page is small.

import { h, type ComponentType } from "preact";
import { useEffect, useState } from "preact/hooks";

export function lazily<P extends object>(load: () => Promise<ComponentType<P>>): ComponentType<P> {
  let known: ComponentType<P> | null = null;
  return (props: P) => {
    const [, redraw] = useState(0);
    useEffect(() => {
      if (!known) void load().then((loaded) => ((known = loaded), redraw(1)), () => undefined);
    }, []);
    return known && h(known, props);
  };
}
