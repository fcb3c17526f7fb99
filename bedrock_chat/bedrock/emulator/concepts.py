"""Words of the same meaning in English, German, French and Japanese, for vectors that look as if somebody understood.

A group a line, or several of which all but the last end with a comma; at most 150: the general vocabulary of an office,
a household and a journey. A term is a word, or several of them behind each other; one in Japanese is also seen within a
run of characters.
"""

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

LONGEST_TERM: Final = 3
"""In words."""

SHORTEST_PART: Final = 5
"""In letters, of a word that is composed of several."""
LONGEST_COMPOSED: Final = 40
"""In letters, of such a word."""

_GROUPS: Final = """
vacation, holiday, annual leave, paid leave, time off, day off, urlaub, urlaubstag, ferien, conge, vacances, 休暇,
  有給, holidays off, leave, 休み
illness, sick, ill, disease, krank, krankheit, maladie, malade, 病気, 病欠, fever, fieber, fievre, 熱
doctor, physician, arzt, arztin, medecin, docteur, 医者, 医師, medical, checkup, arztlich, 健康診断, 診断
hospital, clinic, krankenhaus, klinik, hopital, clinique, 病院
medicine, drug, medication, medikament, arznei, medicament, 薬, 医薬品, pills, tabletten, comprimes
employee, staff, worker, personnel, mitarbeiter, mitarbeiterin, angestellte, employe, salarie, 従業員, 社員, 職員
employer, company, firm, enterprise, business, arbeitgeber, firma, unternehmen, employeur, entreprise, 会社, 企業,
  corporate, betrieb
manager, boss, supervisor, head, chef, vorgesetzte, vorgesetzter, leiter, responsable, superieur, 上司, 管理者, 部長
colleague, coworker, teammate, kollege, kollegin, collegue, 同僚
job, work, employment, occupation, arbeit, beruf, stelle, travail, emploi, metier, 仕事, 職業, 勤務
salary, wage, pay, remuneration, gehalt, lohn, salaire, remuneration, 給料, 給与, 賃金
raise, pay rise, increase, gehaltserhohung, erhohung, augmentation, 昇給, 増加, bonus, pramie, prime, gratification,
  賞与, 手当
dismissal, termination, notice period, layoff, kundigung, entlassung, licenciement, preavis, 解雇, 退職
hire, recruit, recruitment, onboarding, einstellen, einstellung, embauche, recrutement, 採用, 雇用, join, joining,
  eintritt, entrer dans l entreprise, 入社
application, apply, candidate, applicant, bewerbung, bewerber, candidature, candidat, 応募, 申請
contract, agreement, vertrag, vereinbarung, contrat, accord, 契約, 協定
signature, sign, unterschrift, unterschreiben, signer, 署名, 捺印
law, legal, regulation, gesetz, recht, rechtlich, loi, juridique, reglement, 法律, 規則
rule, policy, guideline, regel, richtlinie, regle, directive, 方針, 規定, ルール
permission, approval, consent, authorization, erlaubnis, genehmigung, autorisation, approbation, 許可, 承認
prohibited, forbidden, banned, not allowed, verboten, untersagt, interdit, defendu, 禁止
obligation, duty, mandatory, required, pflicht, verpflichtung, obligatoire, devoir, 義務, 必須
penalty, fine, sanction, strafe, bussgeld, amende, penalite, 罰金, 罰則
court, judge, lawsuit, gericht, richter, klage, tribunal, juge, proces, 裁判所, 裁判
complaint, grievance, beschwerde, reklamation, plainte, reclamation, 苦情, クレーム, complaints, plaintes,
  reclamations, beschwerden
meeting, conference, session, besprechung, sitzung, reunion, seance, 会議, 打ち合わせ
appointment, date, schedule, timetable, termin, zeitplan, rendez vous, horaire, calendrier, 予約, 予定, 日程
deadline, due date, time limit, frist, stichtag, echeance, delai, date limite, 締め切り, 期限
working hours, office hours, opening hours, arbeitszeit, offnungszeiten, heures de travail, 勤務時間, 営業時間, open,
  geoffnet, offnet, ouvert, ouverture, horaires
overtime, extra hours, uberstunden, mehrarbeit, heures supplementaires, 残業, 時間外, extra work, longer hours,
  langer arbeiten, travailler plus, 超過勤務
remote work, home office, telework, working from home, homeoffice, heimarbeit, teletravail, 在宅勤務, テレワーク
office, workplace, desk, buro, arbeitsplatz, bureau, lieu de travail, 事務所, オフィス, 職場
break, pause, rest, lunch break, mittagspause, ruhezeit, repos, 休憩
pension, retirement, rente, ruhestand, retraite, 年金, 引退
insurance, insured, coverage, versicherung, versichert, assurance, assure, 保険
tax, taxes, vat, steuer, steuern, mehrwertsteuer, impot, taxe, tva, 税金, 消費税, 税
bank, bank account, konto, bankkonto, compte, banque, 銀行, 口座
money, cash, currency, geld, bargeld, wahrung, argent, especes, monnaie, お金, 現金, 通貨
price, cost, fee, charge, preis, kosten, gebuhr, prix, cout, frais, tarif, 価格, 料金, 費用, 値段
cheap, inexpensive, affordable, billig, gunstig, preiswert, bon marche, 安い, 格安
expensive, costly, dear, teuer, kostspielig, cher, couteux, 高い, 高価
discount, reduction, rebate, sale, rabatt, ermassigung, nachlass, remise, rabais, 割引, 値引き
invoice, bill, rechnung, facture, 請求書, 請求
payment, paid, transfer, zahlung, uberweisung, bezahlen, paiement, payer, virement, 支払い, 支払, 振込, vergutet,
  vergutung, bezahlt, uberwiesen, finance, finances, 払う, 払って, 支給, 負担
refund, reimbursement, expense report, money back, erstattung, ruckerstattung, spesen, remboursement, 返金, 払い戻し
debt, loan, credit, mortgage, schulden, kredit, darlehen, dette, pret, emprunt, 借金, 融資, ローン
budget, funds, haushalt, mittel, fonds, 予算, 資金
profit, revenue, income, earnings, gewinn, umsatz, einnahmen, benefice, revenu, chiffre d affaires, 利益, 収入, 売上
loss, deficit, verlust, perte, 損失, 赤字
order, purchase, buy, bestellung, kauf, kaufen, commande, achat, acheter, 注文, 購入, 買う
sell, seller, verkaufen, verkaufer, vendre, vendeur, 販売, 売る
customer, client, buyer, kunde, kundin, acheteur, 顧客, お客様
supplier, vendor, provider, lieferant, anbieter, fournisseur, 仕入先, 供給者
product, goods, item, article, produkt, ware, artikel, produit, marchandise, 製品, 商品
shop, store, supermarket, laden, geschaft, supermarkt, magasin, boutique, 店, 商店
market, advertising, marketing, markt, werbung, marche, publicite, 市場, 広告
delivery, shipping, shipment, dispatch, lieferung, versand, livraison, expedition, 配送, 発送, 納品, envoi, livre,
  zustellung, 配達, 届く, 届け
return, give back, exchange, ruckgabe, umtausch, retour, echange, 返品, 交換
parcel, package, packet, paket, packchen, colis, 荷物, 小包, parcels, pakete, 小荷物
warranty, guarantee, garantie, gewahrleistung, 保証
repair, fix, maintenance, reparatur, wartung, reparieren, reparation, entretien, reparer, 修理, 保守
broken, defect, faulty, damage, kaputt, defekt, schaden, casse, panne, defectueux, dommage, 故障, 破損, 壊れた
error, mistake, bug, fehler, irrtum, erreur, faute, 間違い, エラー, 誤り
problem, issue, trouble, difficulty, schwierigkeit, probleme, difficulte, 問題, 困難
solution, answer, resolve, losung, antwort, lосung, reponse, 解決, 回答
question, inquiry, query, frage, anfrage, demande, 質問, 問い合わせ
help, support, assistance, hilfe, unterstutzung, aide, assistance, 助け, 支援, サポート
manual, instructions, handbook, guide, anleitung, handbuch, mode d emploi, notice, 説明書, 手引き, マニュアル
training, course, learning, lesson, schulung, kurs, fortbildung, formation, cours, 研修, 講座, 訓練
school, pupil, student, schule, schuler, ecole, eleve, 学校, 生徒, 学生
university, college, degree, universitat, hochschule, universite, diplome, 大学, 学位
teacher, instructor, lehrer, lehrerin, dozent, enseignant, professeur, 先生, 教師
exam, test, examination, prufung, examen, epreuve, 試験, 検査
document, file, paper, record, dokument, datei, akte, unterlagen, fichier, dossier, 書類, 文書, 資料
form, questionnaire, formular, fragebogen, formulaire, 用紙, 様式
report, statement, bericht, rapport, compte rendu, 報告, 報告書, announce, notify, melden, anzeigen, meldung,
  declarer, signaler, 届出, anzuzeigen
letter, mail, post, brief, courrier, lettre, poste, 手紙, 郵便
email, e mail, inbox, electronic mail, courriel, messagerie, 電子メール, メール
telephone, phone, call, mobile, telefon, anruf, handy, appel, portable, 電話, 携帯
address, location, place, adresse, ort, standort, lieu, endroit, 住所, 場所
name, title, designation, bezeichnung, nom, titre, 名前, 名称
computer, laptop, pc, notebook, rechner, ordinateur, パソコン, コンピュータ
software, program, programme, app, programm, anwendung, logiciel, ソフト, アプリ
printer, print, scanner, drucker, drucken, imprimante, imprimer, プリンター, 印刷
screen, display, monitor, bildschirm, ecran, moniteur, 画面
keyboard, mouse, tastatur, maus, clavier, souris, キーボード
network, internet, wifi, wlan, netz, netzwerk, reseau, ネットワーク, 通信
password, passcode, login, credentials, kennwort, passwort, anmeldung, mot de passe, identifiant, 暗証番号,
  パスワード, passwords, mots de passe, kennworter, passworter
security, safety, protection, sicherheit, schutz, securite, surete, 安全, 保護, セキュリティ
privacy, personal data, data protection, datenschutz, personenbezogen, vie privee, donnees personnelles, 個人情報
data, information, daten, informationen, donnees, renseignement, 情報, データ
backup, copy, restore, sicherung, kopie, sauvegarde, copie, バックアップ, 複製, copied, copies, kept, retention,
  aufbewahrt, aufbewahrung, conserve, 保管
update, upgrade, new version, aktualisierung, mise a jour, 更新
install, setup, set up, installieren, einrichten, installer, installation, 設置, 導入
delete, remove, erase, loschen, entfernen, supprimer, effacer, 削除, 消去
begin, start, launch, beginn, anfang, starten, debut, commencer, demarrer, 開始, 始まる, 始め
end, finish, stop, ende, beenden, schluss, fin, terminer, arreter, 終了, 終わり, 停止
cancel, cancellation, withdraw, stornieren, absagen, widerruf, annuler, annulation, resilier, 取り消し, キャンセル,
  解約
change, modify, alteration, anderung, andern, modifier, changement, modification, 変更, 修正, 変える, 変えたい,
  andert
increase in size, big, large, huge, gross, grosse, grand, enorme, 大きい, 大型
small, little, tiny, klein, winzig, petit, minuscule, 小さい, 小型
fast, quick, rapid, speed, schnell, geschwindigkeit, rapide, vite, vitesse, 速い, 速度, slow, slowly, delayed, late,
  langsam, verspatung, spat, lent, retard, en retard, 遅い, 遅延, 遅刻
new, recent, modern, neu, aktuell, nouveau, moderne, 新しい, 最新
old, ancient, former, alt, fruher, vieux, ancien, 古い, 以前
good, excellent, quality, gut, ausgezeichnet, qualitat, bon, excellent, qualite, 良い, 優れた, 品質, bad, poor,
  terrible, schlecht, schlimm, mauvais, 悪い
important, essential, crucial, wichtig, wesentlich, essentiel, 重要, 大切
car, vehicle, automobile, auto, fahrzeug, wagen, voiture, vehicule, 車, 自動車
bicycle, bike, cycling, fahrrad, rad, velo, bicyclette, 自転車, ride, scooter, roller, trottinette, スクーター
train, railway, rail, station, bahn, zug, bahnhof, chemin de fer, gare, 電車, 鉄道, 駅
bus, coach, tram, public transport, strassenbahn, nahverkehr, autobus, transports en commun, バス, 交通機関
plane, flight, airplane, airport, flugzeug, flug, flughafen, avion, vol, aeroport, 飛行機, 航空, 空港
ship, boat, ferry, harbour, schiff, fahre, hafen, bateau, navire, port, 船, 港
travel, trip, journey, business trip, reise, dienstreise, ausflug, voyage, deplacement, 旅行, 出張
hotel, accommodation, lodging, unterkunft, ubernachtung, hebergement, logement, 宿泊, ホテル, 旅館, hotels, night,
  nacht, nuit, 泊
ticket, pass, fare, fahrkarte, eintrittskarte, billet, 切符, 乗車券, tickets, season ticket, commuting, monatskarte,
  abonnement, 定期券, 通勤, 電車代
road, street, highway, strasse, autobahn, weg, rue, route, autoroute, 道路, 道, 通り
parking, car park, garage, parkplatz, parken, stationnement, 駐車場, 駐車
fuel, petrol, gasoline, diesel, benzin, kraftstoff, tanken, essence, carburant, 燃料, ガソリン
house, home, building, flat, apartment, haus, wohnung, gebaude, maison, appartement, immeuble, 家, 住宅, 建物
rent, lease, tenant, landlord, miete, mieter, vermieter, loyer, locataire, bail, 家賃, 賃貸
room, space, hall, zimmer, raum, saal, chambre, piece, salle, 部屋, 室
furniture, chair, table, mobel, stuhl, tisch, meuble, chaise, 家具, 椅子, 机
key, lock, door, schlussel, schloss, tur, cle, serrure, porte, 鍵, 扉
kitchen, cook, cooking, recipe, kuche, kochen, rezept, cuisine, recette, 台所, 料理
food, meal, eat, dish, essen, mahlzeit, speise, repas, manger, plat, nourriture, 食事, 食べ物, 食品
drink, beverage, water, coffee, getrank, wasser, kaffee, boisson, eau, 飲み物, 水, 飲料, espresso, tea, tee,
  the vert, お茶, コーヒー
restaurant, canteen, cafeteria, kantine, gaststatte, cantine, 食堂, レストラン
clothes, clothing, uniform, shoes, kleidung, schuhe, vetement, chaussure, 服, 衣類, 靴
child, children, kid, baby, kind, kinder, enfant, bebe, 子供, 子ども, 赤ちゃん, son, daughter, sohn, tochter, fils,
  fille, 息子, 娘
parents, mother, father, eltern, mutter, vater, mere, pere, 親, 両親
marriage, wedding, spouse, husband, wife, heirat, hochzeit, ehe, mariage, epoux, 結婚, 配偶者
birth, pregnancy, maternity, geburt, schwangerschaft, mutterschutz, naissance, grossesse, maternite, 出産, 妊娠
death, funeral, bereavement, tod, beerdigung, trauer, deces, mort, obseques, 死亡, 葬儀
accident, injury, emergency, unfall, verletzung, notfall, blessure, urgence, 事故, 怪我, 緊急
fire, smoke, evacuation, feuer, brand, rauch, incendie, fumee, 火事, 火災, 避難, alarm, fire alarm, feueralarm,
  alarme
weather, rain, snow, temperature, wetter, regen, schnee, temps, pluie, neige, 天気, 雨, 雪, 気温, degrees, warm,
  cold, grad, degre, degres, 温度, 度
energy, electricity, power, heating, strom, energie, heizung, electricite, chauffage, 電気, 電力, 暖房
waste, garbage, rubbish, trash, recycling, mull, abfall, dechet, poubelle, ごみ, 廃棄物
environment, climate, nature, umwelt, klima, natur, environnement, climat, 環境, 気候
animal, dog, cat, pet, tier, hund, katze, chien, chat, 動物, 犬, 猫, ペット
plant, tree, garden, flower, pflanze, baum, garten, plante, arbre, jardin, 植物, 木, 庭, 花
city, town, municipality, stadt, gemeinde, ville, commune, 市, 町, 都市
country, nation, state, abroad, land, staat, ausland, pays, etat, etranger, 国, 海外, 外国
authority, government, administration, behorde, regierung, verwaltung, gouvernement, autorite, 役所, 政府, 行政
passport, visa, identity card, reisepass, ausweis, personalausweis, passeport, carte d identite, 旅券, 身分証明書
gift, present, presents, geschenk, geschenke, cadeau, cadeaux, 贈り物, 土産
visitor, guest, besucher, gast, gaste, gastgeber, visiteur, invite, 来客, 訪問者
clean, cleaning, wash, descale, descaled, reinigen, putzen, waschen, nettoyer, laver, 掃除, 洗浄
battery, charging, akku, batterie, pile, aufladen, recharge, 電池, 充電
far, distance, range, kilometre, kilometres, weit, entfernung, reichweite, loin, autonomie, 距離
"""

_LINES: Final = _GROUPS.replace(",\n  ", ", ").strip().splitlines()


def folded(text: str) -> str:
    """Without case, accents and differences of width."""
    if text.isascii():
        return text.lower()
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    plain = "".join(letter for letter in decomposed if not _is_accent(letter))
    return unicodedata.normalize("NFKC", plain)


def _is_accent(letter: str) -> bool:
    """Whether it is a mark of Latin letters. Marks of Japanese ones are kept: they make other letters."""
    return "̀" <= letter <= "ͯ"


def _read() -> tuple[Mapping[tuple[str, ...], int], Mapping[str, int]]:
    """Words behind each other → their group; Japanese term → its group. A term of two groups stands for the first."""
    terms: dict[tuple[str, ...], int] = {}
    japanese: dict[str, int] = {}
    for number, line in enumerate(_LINES):
        for term in line.split(", "):
            if term.isascii():
                terms.setdefault(tuple(term.split()), number)
            else:
                japanese.setdefault(folded(term), number)
    return terms, japanese


_TERMS, _JAPANESE = _read()
_FIRST_WORDS: Final = frozenset(words[0] for words in _TERMS if len(words) > 1)
GROUPS: Final = len(_LINES)


def of_word(word: str) -> int | None:
    """The group of a folded word, also where it has an ending of the plural, or is composed as German words are.

    Of a composed one the last part says what it is (a Wasserschaden is a Schaden), else the first part.
    """
    known = next((group for form in _forms(word) if (group := _TERMS.get((form,))) is not None), None)
    if known is not None or len(word) > LONGEST_COMPOSED:
        return known
    parts = [
        part
        for length in range(len(word) - SHORTEST_PART, SHORTEST_PART - 1, -1)
        for part in (word[-length:], word[:length])
    ]
    return next((group for part in parts if (group := _TERMS.get((part,))) is not None), None)


def of_phrases(words: Sequence[str]) -> Iterator[int]:
    """The group of each term of several words among folded ones."""
    for start, first in enumerate(words):
        if first not in _FIRST_WORDS:
            continue
        for end in range(start + 2, min(start + LONGEST_TERM, len(words)) + 1):
            *others, last = words[start:end]
            groups = (_TERMS.get((*others, form)) for form in _forms(last))
            yield from [group for group in groups if group is not None][:1]


def of_japanese(run: str) -> Iterator[int]:
    """The group of each term within a run of Japanese characters."""
    for term, group in _JAPANESE.items():
        yield from [group] * run.count(term)


def _forms(word: str) -> Iterator[str]:
    yield word
    if len(word) > 4:
        for ending in ("s", "e", "n", "t", "es", "en", "er", "ing", "ed", "te", "ten", "ung", "ungen", "ment", "ly"):
            if word.endswith(ending):
                yield word[: -len(ending)]
