// How the server knows who asks: by the browser's cookie, unless a token enters; what a request then carries leaves.

let token = "";
let renew: () => Promise<boolean> = () => Promise.resolve(false);

/** From now on requests and sockets carry `given`. */
export function use(given: string): void {
  token = given;
}

/** `handler` is called when the server does not take the token; it resolves to whether there is another one now. */
export function whenRefused(handler: () => Promise<boolean>): void {
  renew = handler;
}

export const renewed = (): Promise<boolean> => renew();

/** Empty where the cookie counts. */
export const inUse = (): string => token;

/** A browser's socket can carry no header. */
export const subprotocols = (): string[] => (token ? ["codeact", `codeact-key.${token}`] : []);
