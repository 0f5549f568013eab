import { afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { fromAttributes, settingsOf } from "../src/embed/loader/settings";
import { contrast, shades, type Rgb } from "../src/embed/panel/accent";
import { configure, look } from "../src/embed/panel/look";
import { channel } from "../src/embed/protocol";

const HOST = "https://shop.example";

describe("the channel", () => {
  const said: [unknown, string][] = [];
  const other = { postMessage: (message: unknown, origin: string) => said.push([message, origin]) } as unknown as Window;
  const heard: unknown[] = [];
  const open = channel(() => other, HOST, (message) => heard.push(message));

  const arrive = (data: unknown, origin = HOST, source: unknown = other) => {
    const event = new Event("message");
    Object.assign(event, { data, origin, source });
    window.dispatchEvent(event);
  };
  afterEach(() => void (heard.length = said.length = 0));

  it("says everything to the one origin", () => {
    open.say({ type: "hello" });
    expect(said).toEqual([[{ codeact: 1, type: "hello" }, HOST]]);
  });

  it("hears the other window only, and only while it shows a page of that origin", () => {
    arrive({ codeact: 1, type: "token", token: "mine" });
    arrive({ codeact: 1, type: "token", token: "stolen" }, "https://evil.example");
    arrive({ codeact: 1, type: "token", token: "stolen" }, "https://shop.example.evil.example");
    arrive({ codeact: 1, type: "token", token: "stolen" }, "null");
    arrive({ codeact: 1, type: "token", token: "stolen" }, HOST, window);
    arrive({ codeact: 1, type: "token", token: "stolen" }, HOST, null);
    expect(heard).toEqual([{ codeact: 1, type: "token", token: "mine" }]);
  });

  it("passes over what is not of its version, or nothing of its kind", () => {
    for (const data of [null, "text", 7, {}, { type: "open" }, { codeact: 2, type: "open" }, { codeact: 1, type: 3 }]) arrive(data);
    expect(heard).toEqual([]);
  });

  it("hears nothing once it has ended", () => {
    open.end();
    arrive({ codeact: 1, type: "open" });
    expect(heard).toEqual([]);
  });
});

describe("the settings of a host page", () => {
  beforeAll(() => void vi.stubGlobal("CSS", { supports: (_: string, value: string) => /^(#[\da-f]{6}|teal)$/.test(value) }));
  const of = (attributes: Record<string, string>) => settingsOf(fromAttributes(attributes));

  it("come from the script's attributes", () => {
    const { look: wished, ...rest } = of({ tokenUrl: "/token", title: "Ask", starters: '["One", "Two"]', position: "bottom-left", accent: "teal" });
    expect(wished).toMatchObject({ title: "Ask", starters: ["One", "Two"], theme: "system", accent: "teal" });
    expect(rest).toMatchObject({ anonymous: false, position: "bottom-left", ui: "launcher" });
  });

  it("take the token from the page's own function, if there is one", async () => {
    expect(await settingsOf({ tokenUrl: "/token", getToken: () => "from the page" }).getToken()).toBe("from the page");
  });

  it.each([
    [{}, "tokenUrl, getToken or anonymous"],
    [{ tokenUrl: "/token", colour: "red" }, "no option 'colour'"],
    [{ tokenUrl: "/token", theme: "blue" }, "'theme' cannot be \"blue\""],
    [{ tokenUrl: "/token", accent: "url(x)" }, "'accent' cannot be"],
    [{ tokenUrl: "/token", starters: "One, Two" }, "'starters' cannot be \"One, Two\""],
    [{ anonymous: "false" }, "tokenUrl, getToken or anonymous"],
  ])("name what is wrong with %j", (attributes, words) => {
    expect(() => of(attributes as Record<string, string>)).toThrow(words);
  });
});

describe("the panel", () => {
  it("takes of the host page's wishes what it understands, in measure", () => {
    configure({ title: 7, greeting: "x".repeat(5000), starters: ["a", 3, "", ...Array(9).fill("b")], theme: "blue", inline: "yes" });
    expect(look.value).toMatchObject({ title: "", theme: "system", inline: false, anonymous: false });
    expect(look.value!.greeting).toHaveLength(2000);
    expect(look.value!.starters).toEqual(["a", "b", "b", "b", "b", "b"]);
  });

  const COLOURS: Rgb[] = [0, 0.25, 0.5, 0.75, 1].flatMap((r) => [0, 0.5, 1].flatMap((g) => [0, 0.5, 1].map((b): Rgb => [r, g, b])));

  it.each<[string, Rgb]>([
    ["light", [0.988, 0.988, 0.984]],
    ["dark", [0.09, 0.09, 0.086]],
  ])("makes every accent readable on %s paper, and what stands on it", (_, paper) => {
    for (const wished of COLOURS) {
      const { accent, on } = shades(wished, paper);
      expect(contrast(accent, paper), `${wished}`).toBeGreaterThanOrEqual(4.5);
      expect(contrast(on, accent), `${wished}`).toBeGreaterThanOrEqual(4.5);
    }
  });

  it("leaves an accent as it is that can be read", () => {
    expect(shades([0, 0.35, 0.3], [1, 1, 1]).accent).toEqual([0, 0.35, 0.3]);
  });
});
