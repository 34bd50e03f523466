// The page's own words. Names of fields and codes come from the API, which has them in both languages.

const TEXTS = {
  fr: {
    title: "Gravité des accidents", skip: "Aller au contenu",
    tabScene: "Scène", tabModels: "Modèles", tabCsv: "Fichier CSV",
    example: "Exemple", clear: "Nouvelle scène", addVehicle: "Ajouter un véhicule", addPerson: "Ajouter une personne",
    predict: "Prédire", remove: (what) => `Retirer : ${what}`, more: "Plus de détails", unknown: "inconnu",
    accident: "Lieu et circonstances", vehicle: "Véhicule", person: "Personne", people: "Personnes",
    date: "Date", map: "Carte des départements : cliquer pour choisir", overseas: "Outre-mer", noVehicle: "aucun véhicule",
    theirVehicle: "Son véhicule", hitBy: "Véhicule (pour un piéton : celui qui l’a heurté)",
    unharmed: "Indemne", light: "Blessé léger", hospitalised: "Hospitalisé", killed: "Tué",
    severe: "Risque grave", severeProbability: "Risque grave : probabilité d’être tué ou hospitalisé", worst: "Le plus atteint",
    commune: "Commune", communesFound: (n) => (n > 1 ? `${n} communes` : "1 commune"), communePick: "Choisir une commune dans la liste.",
    communeNone: (department) => (department ? `Aucune commune de ${department} ne commence ainsi.` : "Aucune commune ne commence ainsi."),
    nothingYet: "Ajouter un véhicule ou une personne : la prévision s’affichera ici.",
    alert: "Alerte", noAlert: "Pas d’alerte", thresholdReached: (p) => `seuil de ${p} atteint`, thresholdNot: (p) => `sous le seuil de ${p}`,
    anySevere: "de risque qu’au moins une personne soit tuée ou hospitalisée", somebodySevere: "risque grave", anyKilled: "Au moins un tué",
    promise: (recall, precision) => `Avec ce niveau d’information, les alertes trouvent ${recall} des accidents où quelqu’un est tué ou hospitalisé ; ${precision} des alertes sont justes.`,
    nearestLevel: "Niveau d’information le plus proche :", assumed: "Supposé", assumedPeople: "Un conducteur par véhicule ; on ne sait pas qui d’autre est là.", assumedPosition: "La position : là où ont lieu d’habitude les accidents de la commune.",
    sharpen: "Pour plus de certitude, ajouter :", position: "Position (latitude et longitude)", aPerson: "Les personnes", aVehicle: "Les véhicules", assumedOne: "supposé",
    severeFrom: (p) => `Risque grave : probabilité d’être tué ou hospitalisé, signalée à partir de ${p}`, flagged: "signalé", accidentColumn: "Au moins une personne", wholeScene: "Scène",
    results: "Prévision", details: "Détail", expected: "En moyenne, à prévoir",
    why: "Pourquoi ?", whyTitle: "Ce qui a déplacé la réponse", whyHelp: "Effet de chaque information sur la probabilité d’être tué ou hospitalisé, par rapport à la même scène sans elle.",
    points: "points", otherVehicles: "Autres véhicules", otherPeople: "Autres personnes", raises: "aggrave", lowers: "atténue",
    compare: "Comparer les modèles", model: "Modèle", production: "en production",
    ready: (name, version) => `${name}, version ${version}, en production`, notReady: "Aucun modèle en production : lancer d’abord le pipeline.",
    leaderboard: "Classement des modèles chargés", leaderboardHelp: "Validation croisée : par accident. Test : le dixième des accidents jamais appris. Premier appel : ce que vaut le modèle quand on ne sait que ce que dit l’appelant. Accidents : reconnaît-il ceux où quelqu’un est tué ou hospitalisé ?",
    sample: "générées", real: "réelles", data: "Données", since: "Chargé depuis", requests: "Requêtes",
    csvTitle: "Prédire un fichier", csvHelp: "Un CSV fusionné (df_accidents.csv), ou les quatre fichiers BAAC d’une année : caracteristiques, lieux, vehicules, usagers. Aussi en .gz. Les gravités peuvent manquer ; si elles sont là, les prévisions y sont comparées.",
    csvChoose: "Choisir des fichiers, ou les déposer ici", csvNone: "aucun fichier choisi", csvWorking: "Calcul en cours…", csvDone: (n) => `${n} personnes prédites.`, download: "Télécharger le CSV", firstRows: "Premières lignes", share: "Part", count: "Personnes", class: "Classe",
    crossValidation: "Validation croisée", heldOut: "Test", firstCall: "Premier appel", ofAccidents: "Accidents",
    selection_score: "Score", cv_f1_weighted: "F1", cv_accuracy: "Exactitude", test_f1_weighted: "F1", test_f1_macro: "F1 macro", test_auc_severe: "AUC grave",
    first_call_f1_weighted: "F1", first_call_auc_severe: "AUC grave", record_accident_auc_severe: "AUC grave",
    csvNoSeverities: "Le fichier ne donne pas les gravités (grav) : il n’y a rien à quoi comparer les prévisions.",
    csvAlerts: (alerts, accidents, part) => `Accidents en alerte : ${alerts} sur ${accidents} (${part}).`,
    scores: "Prévisions et réalité", scoresHelp: "Le fichier donne les gravités : voici ce que valent ces prévisions. Grave : tué ou hospitalisé.",
    score_people: "Personnes", score_accidents: "Accidents", score_f1_weighted: "F1 pondéré", score_f1_macro: "F1 macro", score_accuracy: "Exactitude", score_auc_severe: "AUC, personne grave", score_calibration_error: "Erreur de calibration",
    score_severe_foretold: "Personnes graves, prévues", score_severe_true: "Personnes graves, réelles", score_accident_auc_severe: "AUC, accident avec un grave", score_accident_severe_foretold: "Accidents avec un grave, prévus", score_accident_severe_true: "Accidents avec un grave, réels",
    score_alert_recall: "Accidents avec un grave trouvés par une alerte", score_alert_precision: "Alertes justes",
    calibration: "Calibration du risque grave", foretoldAxis: "Risque grave prévu", trueAxis: "Part réellement grave", calibrationBin: (foretold, was, n) => `Prévu ${foretold}, réel ${was} (${n} personnes).`,
    column_p_unharmed: "Indemne", column_p_light: "Blessé léger", column_p_hospitalised: "Hospitalisé", column_p_killed: "Tué", column_p_severe: "Risque grave", column_predicted_class: "Classe prévue",
    column_severe: "Signalé grave", column_p_any_severe: "Au moins un grave", column_p_any_killed: "Au moins un tué", column_alert: "Alerte", column_level: "Niveau d’information",
    true: "oui", false: "non", first_call: "premier appel", dispatch: "envoi des secours", on_scene: "sur place", record: "dossier complet",
    caution: "Une estimation statistique d’après les fichiers BAAC, pas un diagnostic.", apiDocs: "Documentation de l’API",
    generated: "Ce modèle a été entraîné sur des accidents GÉNÉRÉS, pas sur des accidents réels : ses réponses ne disent rien du monde.",
    inEnglish: "Réponse de l’API, en anglais : ",
    mapCredit: "Contours des départements : Victor Cazanave, CC BY 4.0.", offline: "Le service ne répond pas.",
  },
  en: {
    title: "Accident severity", skip: "Skip to the content",
    tabScene: "Scene", tabModels: "Models", tabCsv: "CSV file",
    example: "Example", clear: "New scene", addVehicle: "Add a vehicle", addPerson: "Add a person",
    predict: "Predict", remove: (what) => `Remove: ${what}`, more: "More details", unknown: "unknown",
    accident: "Place and circumstances", vehicle: "Vehicle", person: "Person", people: "People",
    date: "Date", map: "Map of the départements: click to choose", overseas: "Overseas", noVehicle: "no vehicle",
    theirVehicle: "Their vehicle", hitBy: "Vehicle (of a pedestrian: the one that hit them)",
    unharmed: "Unharmed", light: "Lightly injured", hospitalised: "Hospitalised", killed: "Killed",
    severe: "Severe risk", severeProbability: "Severe risk: probability of being killed or hospitalised", worst: "Worst off",
    commune: "Commune", communesFound: (n) => (n > 1 ? `${n} communes` : "1 commune"), communePick: "Choose a commune from the list.",
    communeNone: (department) => (department ? `No commune of ${department} begins so.` : "No commune begins so."),
    nothingYet: "Add a vehicle or a person: the forecast will appear here.",
    alert: "Alert", noAlert: "No alert", thresholdReached: (p) => `threshold of ${p} reached`, thresholdNot: (p) => `below the threshold of ${p}`,
    anySevere: "risk that at least one person is killed or hospitalised", somebodySevere: "severe risk", anyKilled: "At least one killed",
    promise: (recall, precision) => `With this much known, alerts find ${recall} of the accidents in which somebody is killed or hospitalised; ${precision} of the alerts are right.`,
    nearestLevel: "Nearest level of knowledge:", assumed: "Assumed", assumedPeople: "One driver in each vehicle; who else is there is not known.", assumedPosition: "The position: where accidents in the commune usually happen.",
    sharpen: "To make this more certain, add:", position: "Position (latitude and longitude)", aPerson: "The people", aVehicle: "The vehicles", assumedOne: "assumed",
    severeFrom: (p) => `Severe risk: probability of being killed or hospitalised, flagged from ${p} on`, flagged: "flagged", accidentColumn: "At least one person", wholeScene: "Scene",
    results: "Forecast", details: "Details", expected: "To expect on average",
    why: "Why?", whyTitle: "What moved the answer", whyHelp: "Effect of each piece of information on the probability of being killed or hospitalised, against the same scene without it.",
    points: "points", otherVehicles: "Other vehicles", otherPeople: "Other people", raises: "raises", lowers: "lowers",
    compare: "Compare the models", model: "Model", production: "in production",
    ready: (name, version) => `${name}, version ${version}, in production`, notReady: "No model is in production: run the pipeline first.",
    leaderboard: "Leaderboard of the loaded models", leaderboardHelp: "Cross-validation: by accident. Test: the tenth of all accidents that is never learned from. First call: how good the model is when only what a caller says is known. Accidents: does it recognise those in which somebody is killed or hospitalised?",
    sample: "generated", real: "real", data: "Data", since: "Loaded since", requests: "Requests",
    csvTitle: "Predict a file", csvHelp: "A merged CSV (df_accidents.csv), or the four BAAC files of a year: caracteristiques, lieux, vehicules, usagers. Also as .gz. The severities may be missing; where they are there, the forecasts are compared with them.",
    csvChoose: "Choose files, or drop them here", csvNone: "no file chosen", csvWorking: "Working…", csvDone: (n) => `${n} people predicted.`, download: "Download the CSV", firstRows: "First lines", share: "Share", count: "People", class: "Class",
    crossValidation: "Cross-validation", heldOut: "Test", firstCall: "First call", ofAccidents: "Accidents",
    selection_score: "Score", cv_f1_weighted: "F1", cv_accuracy: "Accuracy", test_f1_weighted: "F1", test_f1_macro: "Macro F1", test_auc_severe: "Severe AUC",
    first_call_f1_weighted: "F1", first_call_auc_severe: "Severe AUC", record_accident_auc_severe: "Severe AUC",
    csvNoSeverities: "The file gives no severities (grav): there is nothing to compare the forecasts with.",
    csvAlerts: (alerts, accidents, part) => `Accidents with an alert: ${alerts} of ${accidents} (${part}).`,
    scores: "Forecasts and what came true", scoresHelp: "The file gives the severities: so good are these forecasts. Severe: killed or hospitalised.",
    score_people: "People", score_accidents: "Accidents", score_f1_weighted: "Weighted F1", score_f1_macro: "Macro F1", score_accuracy: "Accuracy", score_auc_severe: "AUC, severe person", score_calibration_error: "Calibration error",
    score_severe_foretold: "Severe people, foretold", score_severe_true: "Severe people, true", score_accident_auc_severe: "AUC, accident with somebody severe", score_accident_severe_foretold: "Accidents with somebody severe, foretold", score_accident_severe_true: "Accidents with somebody severe, true",
    score_alert_recall: "Accidents with somebody severe that an alert found", score_alert_precision: "Alerts that were right",
    calibration: "Calibration of the severe risk", foretoldAxis: "Severe risk foretold", trueAxis: "Share that was severe", calibrationBin: (foretold, was, n) => `Foretold ${foretold}, true ${was} (${n} people).`,
    column_p_unharmed: "Unharmed", column_p_light: "Lightly injured", column_p_hospitalised: "Hospitalised", column_p_killed: "Killed", column_p_severe: "Severe risk", column_predicted_class: "Predicted class",
    column_severe: "Flagged severe", column_p_any_severe: "At least one severe", column_p_any_killed: "At least one killed", column_alert: "Alert", column_level: "Level of knowledge",
    true: "yes", false: "no", first_call: "first call", dispatch: "dispatch", on_scene: "on scene", record: "record",
    caution: "A statistical estimate from the BAAC files, not a diagnosis.", apiDocs: "API documentation",
    generated: "This model was trained on GENERATED accidents, not on real ones: its answers say nothing of the world.",
    inEnglish: "",
    mapCredit: "Outlines of the départements: Victor Cazanave, CC BY 4.0.", offline: "The service does not answer.",
  },
};

const KEY = "language";

function remembered() {
  try { return localStorage.getItem(KEY); } catch { return null; }
}

function preferred() {
  const known = navigator.languages.map((each) => each.slice(0, 2)).find((each) => each in TEXTS);
  return remembered() in TEXTS ? remembered() : known ?? "en";
}

export let language = preferred();

export function speak(chosen) {
  language = chosen;
  try { localStorage.setItem(KEY, chosen); } catch { /* private windows may forbid it */ }
}

// French lets no line end before : ; ? ! » % or after «.
const joined = (text) => text.replace(/ (?=[:;?!»%])/g, "\u00a0").replace(/« /g, "«\u00a0");
const spaced = { fr: joined, en: (text) => text };

export function t(name) {
  const text = TEXTS[language][name];
  const space = spaced[language];
  return typeof text === "function" ? (...given) => space(text(...given)) : text && space(text);
}

/* The order in which the classes are shown. */
export const CLASSES = ["unharmed", "light", "hospitalised", "killed"];
export const say = (label) => label[language];
export const percent = (share, digits = 0) => share.toLocaleString(language, { style: "percent", maximumFractionDigits: digits, minimumFractionDigits: digits });
// A small risk is not none: nobody reads 0 % where 0.4 % is meant.
export const risk = (share) => (share > 0 && share < 0.01 ? `< ${percent(0.01)}` : share > 0.99 && share < 1 ? `> ${percent(0.99)}` : percent(share));
export const number = (value, digits = 0) => value.toLocaleString(language, { maximumFractionDigits: digits, minimumFractionDigits: digits });
