// A component enters; one that is drawn again only when a property has changed leaves.

import { Component, h, type ComponentType, type FunctionComponent } from "preact";

export function memo<P extends object>(view: FunctionComponent<P>): ComponentType<P> {
  return class Memo extends Component<P> {
    override shouldComponentUpdate(next: Readonly<P>): boolean {
      return Object.keys(next).some((name) => next[name as keyof P] !== this.props[name as keyof P]);
    }

    override render() {
      return h(view, this.props as P);
    }
  };
}
