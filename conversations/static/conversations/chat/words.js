/** Every word of the page, in English and in Japanese. */

const WORDS = {
  newChat: ["New chat", "新しいチャット"],
  untitled: ["New conversation", "新しい会話"],
  conversations: ["Conversations", "会話"],
  days: [["Today", "Last 7 days", "Earlier"], ["今日", "過去7日間", "それ以前"]],
  bots: ["Bots", "ボット"],
  bot: ["A bot", "ボット"],
  allBots: ["All bots", "すべて表示"],
  search: ["Search bots", "ボットを検索"],
  starred: ["Starred", "スター付き"],
  recent: ["Used recently", "最近使用"],
  own: ["Yours", "自分のボット"],
  popular: ["Popular", "人気"],
  results: ["Found", "検索結果"],
  yours: ["Yours", "自分のボット"],
  found: [(count) => `${count} found.`, (count) => `${count} 件見つかりました。`],
  noneFound: ["No bot is like that.", "一致するボットはありません。"],
  noBots: ["There are no bots yet.", "まだボットはありません。"],
  showAll: [(count) => `Show all ${count}`, (count) => `${count} 件すべて表示`],
  star: [(title) => `Star ${title}`, (title) => `${title} にスターを付ける`],
  unstar: [(title) => `Take the star from ${title}`, (title) => `${title} のスターを外す`],
  unavailable: ["Not available any more", "現在は利用できません"],
  botGone: [
    "This bot is not available any more. You can read this conversation, and begin another one.",
    "このボットは現在利用できません。会話は閲覧できます。続けるには新しい会話を始めてください。",
  ],
  botMissing: [
    "There is no such bot, or it is not shared with you.",
    "ボットが存在しないか、あなたには共有されていません。",
  ],
  noConversations: ["Nothing here yet.", "まだ会話はありません。"],
  skip: ["Skip to the message box", "入力欄へ移動"],
  menu: ["Open the list of conversations", "会話の一覧を開く"],
  close: ["Close the list", "一覧を閉じる"],
  theme: ["Switch between light and dark", "明るい表示と暗い表示を切り替える"],
  leave: ["Forget the token", "トークンを消去"],
  remove: ["Delete this conversation", "この会話を削除"],
  removeQuestion: [
    "Delete this conversation? It cannot be brought back.",
    "この会話を削除しますか？元に戻すことはできません。",
  ],
  delete: ["Delete", "削除"],
  cancel: ["Cancel", "キャンセル"],
  messages: ["Messages", "メッセージ"],
  you: ["You", "あなた"],
  placeholder: ["Write a message", "メッセージを入力"],
  send: ["Send", "送信"],
  stop: ["Stop", "停止"],
  attach: ["Add images or documents", "画像や文書を追加"],
  detach: [(name) => `Remove ${name}`, (name) => `${name} を外す`],
  image: ["Image", "画像"],
  model: ["Model", "モデル"],
  think: ["Reasoning", "推論"],
  thinking: ["Thinking …", "考えています…"],
  answering: ["Answering …", "回答しています…"],
  editing: ["Editing an earlier message; the old one is kept.", "以前のメッセージを編集中です。元のメッセージも残ります。"],
  edit: ["Edit", "編集"],
  copy: ["Copy", "コピー"],
  copied: ["Copied.", "コピーしました。"],
  again: ["Answer again", "もう一度回答"],
  retry: ["Try again", "再試行"],
  proceed: ["Continue", "続きを書く"],
  older: ["Previous version", "前の版"],
  newer: ["Next version", "次の版"],
  latest: ["Jump to the latest", "最新へ移動"],
  done: ["The answer is complete.", "回答が完了しました。"],
  stopped: ["Stopped.", "停止しました。"],
  interrupted: ["This answer was interrupted.", "この回答は途中で中断されました。"],
  unanswered: ["This message has no answer.", "このメッセージにはまだ回答がありません。"],
  lost: ["The connection to the server was lost.", "サーバーとの接続が切れました。"],
  gone: ["There is no such conversation.", "その会話は見つかりません。"],
  retrying: [
    (seconds) => `The model is busy. Next try in ${seconds} s.`,
    (seconds) => `モデルが混み合っています。${seconds} 秒後に再試行します。`,
  ],
  waiting: [
    "Being answered elsewhere. The answer appears when it is complete.",
    "別の場所で回答中です。完了すると表示されます。",
  ],
  tool: [(name) => `Using ${name} …`, (name) => `${name} を使用中…`],
  toolRuns: ["runs …", "実行中…"],
  toolDone: ["answered", "完了"],
  toolFailed: ["failed", "失敗"],
  toolInput: ["Input", "入力"],
  toolResult: ["Result", "結果"],
  sources: [(count) => `Sources (${count})`, (count) => `参照元（${count}）`],
  document: ["A document", "文書"],
  note: [(number) => `Source ${number}`, (number) => `参照元 ${number}`],
  notes: ["Sources of this answer", "この回答の参照元"],
  openSource: ["Open the document", "文書を開く"],
  page: [(number) => `page ${number}`, (number) => `${number} ページ`],
  tokens: [(input, output) => `${input} → ${output} tokens`, (input, output) => `${input} → ${output} トークン`],
  greeting: ["What shall we talk about?", "何について話しましょうか？"],
  emulated: [
    "An emulator answers: it echoes, costs nothing, and plays failures too.",
    "エミュレーターが応答します。費用はかからず、障害も再現できます。",
  ],
  examples: [
    [
      ["Say hello", "Hello! Is anybody there?"],
      ["Stream a long answer", "Tell me a long story. [[words:300]] [[pace:0.03]]"],
      ["Think first", "Think before you answer. [[reasoning]] [[words:40]] [[pace:0.05]]"],
      ["Break in the middle", "Stop halfway, once. [[words:60]] [[pace:0.03]] [[cut:after:25:times:1]]"],
    ],
    [
      ["あいさつする", "こんにちは！誰かいますか？"],
      ["長い回答を流す", "長い話を聞かせてください。 [[words:300]] [[pace:0.03]]"],
      ["考えてから答える", "よく考えてから答えてください。 [[reasoning]] [[words:40]] [[pace:0.05]]"],
      ["途中で切れる", "一度だけ途中で切れます。 [[words:60]] [[pace:0.03]] [[cut:after:25:times:1]]"],
    ],
  ],
  door: ["A token, please", "トークンを入力してください"],
  doorWhy: [
    "This page talks to the API as a local user. A token for one is made in the terminal:",
    "このページはローカルユーザーとして API を呼び出します。トークンはターミナルで発行できます。",
  ],
  token: ["Token", "トークン"],
  enter: ["Start", "はじめる"],
  expired: [
    "That token is not valid, or no longer. Please bring another one.",
    "トークンが無効か、期限が切れています。新しいトークンを入力してください。",
  ],
};

const root = document.documentElement;

/** `words.send` in the language that is chosen now. */
export const words = new Proxy(WORDS, { get: (all, name) => all[name][root.lang === "ja" ? 1 : 0] });

export function switchLanguage() {
  root.lang = root.lang === "ja" ? "en" : "ja";
  localStorage.setItem("chat.language", root.lang);
  translate();
}

/** Fills in the fixed parts of the page: `data-t` names a text, `data-label` the name of a control without one. */
export function translate() {
  for (const part of document.querySelectorAll("[data-t]")) part.textContent = words[part.dataset.t];
  for (const part of document.querySelectorAll("[data-label]")) {
    part.ariaLabel = words[part.dataset.label];
    if (part.matches("button")) part.title = part.ariaLabel;
    if (part.matches("textarea, [type=search]")) part.placeholder = part.ariaLabel;
  }
}
