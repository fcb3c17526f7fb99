/** A rule for the parser: `[^id]`, which names a source that the answer rests on. */

const CITATION = /\[\^([\w!?/+\-~=;.,*&@#$%]+)\]/y;

/** `env.sources` has the ids that are known; without any, such a mark is text like any other. `env.cited` numbers those
 * that are named, in the order in which they are. */
export function citations(parser) {
  parser.inline.ruler.before("link", "citation", (state, silent) => {
    const { env, src, pos } = state;
    if (!env.sources?.size) return false;
    CITATION.lastIndex = pos;
    const match = CITATION.exec(src);
    if (!match) return false;
    if (!silent) {
      const [mark, id] = match;
      const cited = (env.cited ??= new Map());
      if (env.sources.has(id) && !cited.has(id)) cited.set(id, cited.size + 1);
      const token = state.push("citation", "", 0);
      Object.assign(token, { content: mark, meta: { id, number: cited.get(id) ?? null } });
    }
    state.pos += match[0].length;
    return true;
  });
}
