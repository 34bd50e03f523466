// The page's own words. Names of fields and codes come from the API, which has them in both languages.

const TEXTS = {
  fr: {
    title: "Gravité des accidents", skip: "Aller au contenu",
    tabScene: "Scène", tabModels: "Modèles", tabCsv: "Fichier CSV",
    example: "Exemple", clear: "Nouvelle scène", addVehicle: "Ajouter un véhicule", addPerson: "Ajouter une personne",
    predict: "Prédire", remove: "Retirer", more: "Plus de détails", unknown: "inconnu",
    accident: "Lieu et circonstances", vehicle: "Véhicule", person: "Personne", people: "Personnes",
    date: "Date", map: "Carte des départements : cliquer pour choisir", overseas: "Outre-mer", noVehicle: "aucun véhicule",
    theirVehicle: "Son véhicule", hitBy: "Véhicule (pour un piéton : celui qui l’a heurté)",
    unharmed: "Indemne", light: "Blessé léger", hospitalised: "Hospitalisé", killed: "Tué",
    severe: "Risque grave", severeProbability: "Risque grave : probabilité d’être tué ou hospitalisé", worst: "Le plus atteint",
    results: "Prévision", details: "Détail", expected: "En moyenne, à prévoir :",
    why: "Pourquoi ?", whyTitle: "Ce qui a déplacé la réponse", whyHelp: "Effet de chaque information sur la probabilité d’être tué ou hospitalisé, par rapport à la même scène sans elle.",
    points: "points", otherVehicles: "Autres véhicules", otherPeople: "Autres personnes", raises: "aggrave", lowers: "atténue",
    compare: "Comparer les modèles", model: "Modèle", version: "Version", production: "en production",
    ready: (name, version) => `${name}, version ${version}, en production`, notReady: "Aucun modèle en production : lancer d’abord le pipeline.",
    leaderboard: "Classement des modèles chargés", leaderboardHelp: "Les métriques « cv » viennent de la validation croisée par accident, « test » du dixième des accidents jamais appris.",
    sample: "échantillon généré", real: "données réelles", data: "Données", since: "Chargé depuis", requests: "Requêtes",
    csvTitle: "Prédire un fichier", csvHelp: "Un CSV fusionné (df_accidents.csv), ou les quatre fichiers BAAC d’une année : caracteristiques, lieux, vehicules, usagers. Aussi en .gz.",
    csvChoose: "Choisir des fichiers, ou les déposer ici", csvNone: "aucun fichier choisi", csvWorking: "Calcul en cours…", csvDone: (n) => `${n} personnes prédites.`, download: "Télécharger le CSV", firstRows: "Premières lignes", share: "Part", count: "Personnes", class: "Classe",
    selection_score: "Score", cv_f1_weighted: "F1 (cv)", cv_accuracy: "Exactitude (cv)", test_f1_weighted: "F1 (test)", test_f1_macro: "F1 macro (test)", test_auc_severe: "AUC grave (test)",
    p_unharmed: "Indemne", p_light: "Blessé léger", p_hospitalised: "Hospitalisé", p_killed: "Tué", p_severe: "Risque grave", predicted_class: "Classe prévue",
    caution: "Une estimation statistique d’après les fichiers BAAC, pas un diagnostic.", apiDocs: "Documentation de l’API",
    generated: "Ce modèle a été entraîné sur des accidents GÉNÉRÉS, pas sur des accidents réels : ses réponses ne disent rien du monde.",
    inEnglish: "Réponse de l’API, en anglais : ",
    mapCredit: "Contours des départements : Victor Cazanave, CC BY 4.0.", offline: "Le service ne répond pas.", empty: "Ajouter au moins une personne.",
  },
  en: {
    title: "Accident severity", skip: "Skip to the content",
    tabScene: "Scene", tabModels: "Models", tabCsv: "CSV file",
    example: "Example", clear: "New scene", addVehicle: "Add a vehicle", addPerson: "Add a person",
    predict: "Predict", remove: "Remove", more: "More details", unknown: "unknown",
    accident: "Place and circumstances", vehicle: "Vehicle", person: "Person", people: "People",
    date: "Date", map: "Map of the départements: click to choose", overseas: "Overseas", noVehicle: "no vehicle",
    theirVehicle: "Their vehicle", hitBy: "Vehicle (of a pedestrian: the one that hit them)",
    unharmed: "Unharmed", light: "Lightly injured", hospitalised: "Hospitalised", killed: "Killed",
    severe: "Severe risk", severeProbability: "Severe risk: probability of being killed or hospitalised", worst: "Worst off",
    results: "Forecast", details: "Details", expected: "To expect on average:",
    why: "Why?", whyTitle: "What moved the answer", whyHelp: "Effect of each piece of information on the probability of being killed or hospitalised, against the same scene without it.",
    points: "points", otherVehicles: "Other vehicles", otherPeople: "Other people", raises: "raises", lowers: "lowers",
    compare: "Compare the models", model: "Model", version: "Version", production: "in production",
    ready: (name, version) => `${name}, version ${version}, in production`, notReady: "No model is in production: run the pipeline first.",
    leaderboard: "Leaderboard of the loaded models", leaderboardHelp: "“cv” metrics are cross-validated by accident; “test” ones are of the tenth of all accidents that is never learned from.",
    sample: "generated sample", real: "real data", data: "Data", since: "Loaded since", requests: "Requests",
    csvTitle: "Predict a file", csvHelp: "A merged CSV (df_accidents.csv), or the four BAAC files of a year: caracteristiques, lieux, vehicules, usagers. Also as .gz.",
    csvChoose: "Choose files, or drop them here", csvNone: "no file chosen", csvWorking: "Working…", csvDone: (n) => `${n} people predicted.`, download: "Download the CSV", firstRows: "First lines", share: "Share", count: "People", class: "Class",
    selection_score: "Score", cv_f1_weighted: "F1 (cv)", cv_accuracy: "Accuracy (cv)", test_f1_weighted: "F1 (test)", test_f1_macro: "Macro F1 (test)", test_auc_severe: "Severe AUC (test)",
    p_unharmed: "Unharmed", p_light: "Lightly injured", p_hospitalised: "Hospitalised", p_killed: "Killed", p_severe: "Severe risk", predicted_class: "Predicted class",
    caution: "A statistical estimate from the BAAC files, not a diagnosis.", apiDocs: "API documentation",
    generated: "This model was trained on GENERATED accidents, not on real ones: its answers say nothing of the world.",
    inEnglish: "",
    mapCredit: "Outlines of the départements: Victor Cazanave, CC BY 4.0.", offline: "The service does not answer.", empty: "Add at least one person.",
  },
};

const KEY = "language";

function remembered() {
  try { return localStorage.getItem(KEY); } catch { return null; }
}

function preferred() {
  const told = navigator.languages.map((each) => each.slice(0, 2)).find((each) => each in TEXTS);
  return remembered() in TEXTS ? remembered() : told ?? "en";
}

export let language = preferred();

export function speak(chosen) {
  language = chosen;
  try { localStorage.setItem(KEY, chosen); } catch { /* private windows may forbid it */ }
}

export const t = (name) => TEXTS[language][name];
export const say = (label) => label[language];
export const percent = (share, digits = 0) => share.toLocaleString(language, { style: "percent", maximumFractionDigits: digits, minimumFractionDigits: digits });
// A small risk is not none: nobody reads 0 % where 0.4 % is meant.
export const risk = (share) => (share > 0 && share < 0.01 ? `< ${percent(0.01)}` : share > 0.99 && share < 1 ? `> ${percent(0.99)}` : percent(share));
export const number = (value, digits = 0) => value.toLocaleString(language, { maximumFractionDigits: digits, minimumFractionDigits: digits });
